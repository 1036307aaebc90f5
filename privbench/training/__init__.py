"""The one facility that trains networks."""
