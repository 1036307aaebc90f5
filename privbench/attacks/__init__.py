"""Attacks: adversaries under declared rights. One file each; what several share is in parts."""
