"""Victims: classifiers that split at any named layer, and their training."""
