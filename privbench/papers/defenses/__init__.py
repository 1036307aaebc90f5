"""The table of all defenses, and the published claims about them, from records of one sweep."""
