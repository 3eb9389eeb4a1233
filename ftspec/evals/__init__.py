"""Evals: graders, runner, statistics, comparison."""
