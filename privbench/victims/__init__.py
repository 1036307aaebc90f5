"""Victims: classifiers that split at any named layer, and how they are trained."""
