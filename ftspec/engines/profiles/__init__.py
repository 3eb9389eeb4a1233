"""One file per engine: what it can do and how it differs."""
