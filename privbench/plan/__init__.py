"""Planner: where to split a network, by cost, accuracy and measured leakage."""
