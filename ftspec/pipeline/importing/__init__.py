"""The way in for jobs that were bought elsewhere, and for jobs of which nobody knows what became.

- `one.py`: one job of an engine to one address, by id or by search; a person's word that there is none
- `remote.py`: the jobs of engines that state does not know
- `rows.py`: whether the files of a job hold the rows of the spec's datasets
- `stub.py`: specs written from jobs; `describe.py` from jobs of an engine, `llmcomp.py` and `azd.py`
  from the files of other tools

Nothing here buys anything.
"""
