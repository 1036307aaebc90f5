"""Results of single papers, and what compares records with them."""
