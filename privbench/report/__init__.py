"""Figures, pages and summaries of what ``analysis`` computed; imports no torch."""
