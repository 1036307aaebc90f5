"""Defenses: perturbations of features or input, and training of halves, layers or noise."""
