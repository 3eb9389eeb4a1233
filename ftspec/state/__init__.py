"""Where records are kept: backends (`base.StateBackend`), the local folder (`jsonl`), memory, and the lockfile."""
