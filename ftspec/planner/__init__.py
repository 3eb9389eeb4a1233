"""Desired + recorded -> `actions.Plan`. Pure."""
