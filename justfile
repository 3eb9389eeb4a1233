# `just test`, `just lint`, `just docs`: nothing else to remember.

test:
    pytest -n auto

lint:
    ruff check . && ruff format --check . && mypy && lint-imports

docs:
    pytest README.md docs tests/scenarios

slow:
    pytest -n auto -m slow
