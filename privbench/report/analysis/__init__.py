"""Records to settings, worst cases, curves, comparisons and tables; imports no torch."""
