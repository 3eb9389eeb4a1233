"""One file per check of dataset rows, found by name."""
