"""One file per grader, found by name."""
