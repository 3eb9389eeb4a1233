"""Does a plan: intent, one effect, outcome; and finds out what became of what was bought.

- `execute` walks a plan (`apply.py`) with every effect injected: engines, the state writer,
  the clock, randomness, concurrency (`Crew`) and the observer (`progress.py`).
- `settle` looks up launches whose outcome is not known, `refresh` asks engines about
  unfinished jobs, `import_job` and `mark_absent` are a person's word on a job in doubt.

Nothing here decides *what* to buy: that is the plan's. What is bought is bought by
`launch.buy` alone, and only after its intent is durable.
"""
