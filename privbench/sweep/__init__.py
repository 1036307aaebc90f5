"""Sweeps: planned, launched, resumed, and their workers."""
