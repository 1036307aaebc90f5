"""The Python interface: an attack on a network in memory, and its scores."""
