"""Does a plan: intent, one effect, outcome; and finds out what became of what was bought.

- `apply.execute` walks a plan with every effect injected: engines, the state writer, the
  clock, randomness, concurrency (`crew.Crew`) and the observer (`progress.Progress`).
- `doubt.settle` looks up launches whose outcome is not known; `doubt.import_job` and
  `doubt.mark_absent` are a person's word on one; `refresh.refresh` asks about unfinished jobs.

Nothing here decides *what* to buy: that is the plan's. What is bought is bought by
`launch.buy` alone, and only after its intent is durable.
"""
