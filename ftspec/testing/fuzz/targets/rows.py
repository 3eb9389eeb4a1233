"""Dataset rows of every format: digests, rules, transforms, splits, counts, leakage, repair."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from ftspec.testing.fuzz.target import Check, Target, diagnosed, refusal


def _lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


USER, ANSWER = {"role": "user", "content": "where is parcel 1"}, {"role": "assistant", "content": "shipping"}
TOOL: Final = {
    "type": "function",
    "function": {"name": "ask", "description": "Ask", "strict": True, "parameters": {
        "type": "object", "properties": {"place": {"type": "string", "enum": ["here"]}, "days": {"type": "array", "items": {"type": "integer"}}},
        "required": ["place"], "additionalProperties": False,
    }},
}  # fmt: skip
CALLING: Final = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "ask", "arguments": '{"place":"here","days":[1]}'}}]}  # fmt: skip
PNG: Final = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
JPEG: Final = "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/wAARCAAQABADASIAAhEBAxEB/9k="
IMAGES: Final = {"role": "user", "content": [
    {"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
    {"type": "image_url", "image_url": {"url": JPEG}}, {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
]}  # fmt: skip

CHAT: Final = _lines(
    {"messages": [{"role": "system", "content": "Be brief.", "name": "s"}, USER, {**ANSWER, "weight": 1, "reasoning_content": "hm"}]},
    {
        "messages": [USER, ANSWER, USER, {"role": "assistant", "content": "<think>x</think>me@example.com sk-abcdefghijklmnop1"}],
        "source": "a",
    },
)
TOOLS: Final = _lines(
    {
        "messages": [USER, CALLING, {"role": "tool", "tool_call_id": "c1", "content": "x"}, ANSWER],
        "tools": [TOOL],
        "parallel_tool_calls": False,
    }
)
VISION: Final = _lines({"messages": [IMAGES, ANSWER]}, {"messages": [IMAGES, ANSWER]})
PREFERENCE: Final = _lines(
    {
        "input": {"messages": [USER], "tools": [TOOL], "parallel_tool_calls": True},
        "preferred_output": [ANSWER],
        "non_preferred_output": [{**ANSWER, "content": "b"}],
    },
    {"input": {"messages": [USER]}, "preferred_completion": [ANSWER], "non_preferred_completion": [ANSWER]},
)
REINFORCEMENT: Final = _lines(
    {"messages": [USER], "reference": {"answer": 1}, "a": {"b": "x"}}, {"messages": [USER, ANSWER, USER], "answer": [1]}
)
COMPLETION: Final = _lines({"prompt": "a", "completion": " b"}, {"prompt": "a\n", "completion": "c"})


def _rows_of(form: str) -> Callable[[Path], AbstractContextManager[Check]]:
    return partial(_read, form=form)


@contextmanager
def _read(folder: Path, *, form: str) -> Iterator[Check]:
    """Rows are refused by line, or can be checked, counted, dealt, compared, read for an upload; the key is that of what is uploaded."""
    from hashlib import sha256

    from ftspec.data.audit import audit
    from ftspec.data.checks.base import Setting
    from ftspec.data.digest import digest, open_rows
    from ftspec.data.rows import Place
    from ftspec.data.stats import statistics_of
    from ftspec.experiment import DesiredDataset, SplitRule

    path = folder / "rows.jsonl"
    plain = DesiredDataset(name="rows", path="rows.jsonl")
    split = SplitRule(shares={"train": 0.6, "test": 0.4}, seed=1, group_by="source")
    declared = DesiredDataset(name="rows", path="rows.jsonl", format=form, split=split)  # type: ignore[arg-type]  # the name of a format
    where = Place(root=folder, datasets={"rows": plain})
    setting = Setting(format=form, item_keys=("a.b",), safety=True, labels=True, columns=frozenset({"source"}))

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with refusal():
            facts, problems = digest(plain, root=folder)
            diagnosed(problems)
            if "rows" in facts and not [one for one in problems if one.severity == "error"]:
                sent = b"".join(open_rows(plain, "rows", root=folder))
                assert (facts["rows"].key, facts["rows"].rows) == (sha256(sent).hexdigest(), sent.count(b"\n"))
                _asked(sent)
                path.write_bytes(sent)
                assert digest(plain, root=folder)[0]["rows"].key == facts["rows"].key
                path.write_bytes(content)
        with refusal():
            passed, problems = audit(declared, where, setting=setting)
            diagnosed(problems)
            if passed is not None:
                for one in statistics_of(declared, passed, contexts=(10,)).values():
                    json.dumps(one.as_json(), ensure_ascii=False).encode()
        _compared(folder, content)

    yield check


def _asked(sent: bytes) -> None:
    """What can be uploaded can be asked by an eval, or is refused by its number."""
    from ftspec.evals.items import eval_items

    for prompt in (None, "{{item.a.b}} {{item.source}}", [{"role": "user", "content": "{{item.reference}}"}]):
        with refusal():
            for item in eval_items(sent.split(b"\n")[:-1], prompt=prompt):
                assert isinstance(item.messages, list)


def _compared(folder: Path, content: bytes) -> None:
    """Leakage between a file and itself, and a repaired copy whose rows are all readable."""
    from ftspec.data.digest import digest
    from ftspec.data.leakage import Part, compare
    from ftspec.data.repair import repair
    from ftspec.data.rows import BadFile, Place
    from ftspec.diagnostics import has_errors
    from ftspec.experiment import DesiredDataset

    dataset = DesiredDataset(name="rows", path="rows.jsonl")
    where, part = Place(root=folder), Part(dataset=dataset, ref="rows")
    with refusal(BadFile):
        diagnosed(compare(part, [part], where))
    mended = folder / "mended.jsonl"
    for name in ("mended.jsonl", "mended.jsonl.rejected"):
        (folder / name).unlink(missing_ok=True)
    with refusal(BadFile):
        with where.open("rows.jsonl") as file:
            done = repair(file, mended, redact=len(content) % 2 == 0)
        if done.rows:
            facts, problems = digest(DesiredDataset(name="mended", path="mended.jsonl"), root=folder)
            unreadable = {"bad-json", "not-utf8", "duplicate-key", "torn-row", "row-too-deep", "not-an-object", "empty-file"}
            assert not has_errors([one for one in problems if one.code in unreadable]), problems
            assert facts["mended"].rows == done.rows


@contextmanager
def _transformed(folder: Path) -> Iterator[Check]:
    """Transforms are refused, or make the same rows each time they are asked. The input is a list of transforms."""
    from ftspec.data.digest import digest
    from ftspec.experiment import DesiredDataset

    (folder / "rows.jsonl").write_bytes(CHAT * 5 + TOOLS)
    (folder / "other.jsonl").write_bytes(CHAT)
    (folder / "prompt.txt").write_text("You help.")
    other = DesiredDataset(name="other", path="other.jsonl")

    def check(content: bytes) -> None:
        try:
            given = json.loads(content)
        except (ValueError, RecursionError):
            return
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            return
        dataset = DesiredDataset(name="rows", path="rows.jsonl", transforms=tuple(given))
        with refusal():
            first, problems = digest(dataset, root=folder, datasets={"other": other, "rows": dataset})
            diagnosed(problems)
            assert first == digest(dataset, root=folder, datasets={"other": other, "rows": dataset})[0]

    yield check


TRANSFORMS: Final = (
    b'[{"type":"system_prompt","text":"Be brief.","when":"missing"},{"type":"strip_reasoning"},{"type":"drop","fields":["source"]},{"type":"dedupe","by":"prompt"}]',
    b'[{"type":"sample","fraction":0.5,"seed":1},{"type":"sample","n":3}]',
    b'[{"type":"sample","first":2,"per":"part"},{"type":"system_prompt","file":"prompt.txt"}]',
    b'[{"type":"mix","with":{"other":0.5},"seed":3}]',
    b'[{"type":"keep_reasoning"},{"type":"mix","with":{"rows":1}}]',
)

TARGETS: Final = (
    Target(name="rows chat", form="jsonl", prepare=_rows_of("chat"), seeds=(CHAT, CHAT * 20, b"\xef\xbb\xbf" + CHAT.replace(b"\n", b"\r\n"))),
    Target(name="rows tools", form="jsonl", prepare=_rows_of("chat"), seeds=(TOOLS,)),
    Target(name="rows vision", form="jsonl", prepare=_rows_of("chat"), seeds=(VISION,)),
    Target(name="rows preference", form="jsonl", prepare=_rows_of("preference"), seeds=(PREFERENCE,)),
    Target(name="rows reinforcement", form="jsonl", prepare=_rows_of("reinforcement"), seeds=(REINFORCEMENT,)),
    Target(name="rows completion", form="jsonl", prepare=_rows_of("completion"), seeds=(COMPLETION,)),
    Target(name="transforms", prepare=_transformed, seeds=TRANSFORMS),
)  # fmt: skip
