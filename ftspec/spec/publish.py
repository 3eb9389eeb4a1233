"""Writes the checked-in JSON Schema: `python -m ftspec.spec.publish` after a change of `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

PATH: Final = Path(__file__).with_name("schema.json")


def published() -> str:
    """Return the JSON Schema as it must be checked in."""
    from ftspec.spec.schema import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(published(), encoding="utf-8")
