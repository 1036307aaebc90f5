"""Where the cells of a sweep are worked on: one file and one yaml a kind of workers."""
