"""Data sources: images for the victim, for the adversary, and for the test, held in memory."""
