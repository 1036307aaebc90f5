"""The threat model: rights, the view that holds them, and what grants it."""
