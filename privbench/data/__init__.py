"""Data sources: victim's training, auxiliary and test images, in memory, in [0, 1]."""
