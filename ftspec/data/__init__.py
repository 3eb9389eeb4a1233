"""Dataset files: rows, digests, splits, formats and checks."""
