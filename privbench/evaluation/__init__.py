"""Scores of reconstructions and deployments, and their intervals."""
