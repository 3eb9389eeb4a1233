"""Puts the parts together: the public `load`, `plan` and `apply`, and what commands share."""
