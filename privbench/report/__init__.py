"""Records to curves, grids, tables and pages; imports no torch."""
