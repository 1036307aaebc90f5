"""Evaluation of reconstructions and of deployments, with intervals."""
