"""What the strongest attacks recover where earlier ones were weak, as a document."""
