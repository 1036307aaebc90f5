"""Training of networks: victims, the evaluation classifier, and the networks of adversaries."""
