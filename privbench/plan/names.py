"""Names of the rows that are no split."""

CLOUD_ONLY = "cloud-only"
"""The cloud computes everything: the image itself is sent."""
EDGE_ONLY = "edge-only"
"""The edge computes everything: nothing is sent."""
