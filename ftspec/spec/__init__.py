"""YAML files to `experiment.Spec` and diagnostics."""
