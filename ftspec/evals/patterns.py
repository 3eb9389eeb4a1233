"""Patterns that somebody else wrote, tried with a patience that ends.

A pattern can take longer than anybody waits (`(a+)+b` on forty letters), Python's `re` cannot be told to give
up, and no reader of patterns tells the bad ones from the good. So what could be one (a `regex`
grader, the patterns of a JSON schema) is tried in a process of our own first, which is ended after
`SECONDS`. Whoever gets its answer may then do the same here. That costs two changes of process (1 ms
on a busy machine); a pattern without repetitions and choices to speak of is not tried.
"""

from __future__ import annotations

import atexit
import json
import re
import threading
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ftspec.evals.code import Code, CodeError

if TYPE_CHECKING:
    from ftspec.evals.isolation import CodeProcess

SECONDS: Final = 5.0
"""How long one answer may take; starting the process and importing are part of the first one."""

STRIKES: Final = 3
"""So often a pattern may run out of time before it is not tried any more."""

_SHORT: Final = 10_000
_HARD: Final = re.compile(r"[*+?{|]|\\[1-9]|\(\?P=")
"""What a search can do in more than one way: repetitions, choices, and groups that come again."""

_SOURCE: Final = """
import re

def tried(kind, pattern, what, text):
    if kind == "regex":
        compiled = re.compile(pattern, what["flags"])
        (compiled.fullmatch if what["full"] else compiled.search)(text)
    else:
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry

        validator_for(pattern, default=Draft202012Validator)(pattern, registry=Registry()).is_valid(text)
    return True
"""

_strikes: Counter[str] = Counter()
_lock = threading.Lock()


def try_regex(pattern: str, text: str, *, flags: int, full: bool) -> None:
    """Raise `CodeError` if this search does not end in time."""
    if len(_HARD.findall(pattern)) <= 1 and len(text) <= _SHORT:
        return  # one repetition at most: quadratic at worst, and ended before another process would have answered
    _try("regex", pattern, {"flags": flags, "full": full}, text)


def try_schema(schema: Mapping[str, Any], value: Any) -> None:
    """Raise `CodeError` if this validation does not end in time."""
    text = json.dumps(schema)
    if "pattern" in text or "ref" in text.lower():
        _try("schema", schema, {}, value)


def _try(kind: str, pattern: Any, what: Mapping[str, Any], text: Any) -> None:
    name = json.dumps(pattern)
    if _strikes[name] < STRIKES:
        with _lock:
            process = _process()
        try:
            process.call(kind, pattern, what, text)
        except CodeError as error:
            if "longer than" not in str(error):
                return  # it ended, with an error that will be met again here and named
            _strikes[name] += 1
        else:
            return
    msg = f"the pattern takes longer than {SECONDS:g} s on an answer"
    raise CodeError(msg)


@cache
def _process() -> CodeProcess:
    from ftspec.evals.isolation import CodeProcess

    process = CodeProcess(Code(_SOURCE, "tried"), wall="process", seconds=SECONDS)
    atexit.register(process.close)
    return process
