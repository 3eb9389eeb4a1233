"""YAML files to `experiment.Spec` and diagnostics.

`load` is the door: files in, a `Spec` of fully expanded jobs and every problem at once out.
"""

from ftspec.spec.load import load

__all__ = ["load"]
