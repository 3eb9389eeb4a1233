"""Desired + recorded -> what to do, why, and what it costs. Pure: no clock, disk, network or console.

`identify` gives jobs their keys, `plan` compares them with state, `selectors` says which jobs a
person means, `saved` keeps a plan for later. `PlanRequest` is everything that decides a plan.
"""

from ftspec.planner.decide import plan

__all__ = ["plan"]
