"""Workers that run the cells of a sweep: one file and one yaml for each kinds."""
