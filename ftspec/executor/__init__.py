"""Does a plan: intent, one effect, outcome; and finds out what became of what was bought.

- `execute` walks a plan (`apply.py`) with every effect injected: engines, the state writer,
  the clock, randomness, concurrency (`Crew`) and the observer (`progress.py`).
- `settle` looks up launches whose outcome is not known, `refresh` asks engines about
  unfinished jobs, `import_job` and `mark_absent` are a person's word on a job in doubt.

Nothing here decides *what* to buy: that is the plan's. What is bought is bought by
`launch.buy` alone, and only after its intent is durable.
"""

from __future__ import annotations

from ftspec.executor.apply import execute
from ftspec.executor.doubt import import_job, mark_absent, settle
from ftspec.executor.effects import Effects
from ftspec.executor.interrupt import Stop, stop_on_signals
from ftspec.executor.refresh import refresh
from ftspec.executor.result import ApplyOptions, ApplyResult, DuplicateJob, Refreshed, Settled, Trouble

__all__ = [
    "ApplyOptions",
    "ApplyResult",
    "DuplicateJob",
    "Effects",
    "Refreshed",
    "Settled",
    "Stop",
    "Trouble",
    "execute",
    "import_job",
    "mark_absent",
    "refresh",
    "settle",
    "stop_on_signals",
]
