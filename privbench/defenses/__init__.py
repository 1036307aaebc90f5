"""Defenses: what the edge does to a tensor before the cloud sees it."""
