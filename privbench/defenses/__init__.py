"""Defenses: random perturbations of the features, or of the normalised input."""
