"""Experiment tracking. Failures of a tracker are logged and never abort a run."""
