"""Devices, random streams, files, errors: what every other room stands on."""
