"""Files of other tools: traces and logs that become datasets, jobs of other tools, logs of other harnesses, result files."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from ftspec.diagnostics import has_errors
from ftspec.testing.fuzz.target import Check, Target, refusal, shown, simple
from ftspec.testing.fuzz.targets.rows import ANSWER, CALLING, TOOL, USER
from ftspec.testing.fuzz.targets.specs import ROWS


def _lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def _text(value: Any) -> dict[str, Any]:
    return {"stringValue": value if isinstance(value, str) else json.dumps(value)}


def _attributes(**given: Any) -> list[dict[str, Any]]:
    return [{"key": name.replace("__", "."), "value": _text(value)} for name, value in given.items()]


OTEL_IN: Final = [
    {
        "role": "user",
        "parts": [{"type": "text", "content": "hi"}, {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="}],
    }
]
OTEL_OUT: Final = [{"role": "assistant", "finish_reason": "stop", "parts": [{"type": "reasoning", "content": "hm"}, {"type": "tool_call", "id": "c", "name": "f", "arguments": {"a": 1}}]}]  # fmt: skip
SPAN: Final = {
    "traceId": "4bf9", "spanId": "00f0", "name": "chat gpt-4", "startTimeUnixNano": "1760000000000000000", "status": {"code": 1},
    "attributes": [
        *_attributes(
            gen_ai__operation__name="chat", gen_ai__response__model="gpt-4", gen_ai__input__messages=OTEL_IN, gen_ai__output__messages=OTEL_OUT,
            gen_ai__tool__definitions=[TOOL], gen_ai__system_instructions=[{"type": "text", "content": "x"}],
        ),
        {"key": "a", "value": {"intValue": "1"}}, {"key": "b", "value": {"arrayValue": {"values": [{"doubleValue": 1.5}, {"boolValue": True}]}}},
        {"key": "c", "value": {"kvlistValue": {"values": [{"key": "d", "value": {"intValue": 1}}]}}},
    ],
    "events": [{"name": "gen_ai.evaluation.result", "attributes": _attributes(gen_ai__evaluation__name="q", gen_ai__evaluation__score__value="0.9")}],
}  # fmt: skip
OPENINFERENCE: Final = {**SPAN, "attributes": _attributes(
    openinference__span__kind="LLM", llm__model_name="m", llm__input_messages__0__message__role="user", llm__input_messages__0__message__content="hi",
    llm__output_messages__0__message__tool_calls__0__tool_call__function__name="f",
    llm__output_messages__0__message__tool_calls__0__tool_call__function__arguments="{}", llm__output_messages__0__message__content="x",
)}  # fmt: skip
COMPLETION: Final = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1760000000, "model": "gpt-5",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {**ANSWER, "refusal": None, "annotations": []}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
}  # fmt: skip

CALL_ITEM: Final = {"type": "function_call", "id": "f", "call_id": "c", "name": "f", "arguments": "{}"}
ASKED: Final = {
    "model": "m", "instructions": "x", "tools": [{"type": "function", "name": "f", "parameters": {}}], "parallel_tool_calls": True, "store": True,
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, CALL_ITEM, {"type": "function_call_output", "call_id": "c", "output": "1"},
    ],
}  # fmt: skip
RESPONSE: Final = {
    "id": "resp_1", "object": "response", "created_at": 1760000000, "status": "completed", "error": None, "model": "m", "previous_response_id": None,
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": []}]}, CALL_ITEM],
}  # fmt: skip
OPENLLMETRY: Final = {**SPAN, "spanId": "00f1", "attributes": _attributes(
    llm__request__type="chat", gen_ai__request__model="m", gen_ai__prompt__0__role="user", gen_ai__prompt__0__content="hi",
    gen_ai__prompt__1__role="assistant", gen_ai__prompt__1__tool_calls__0__name="f", gen_ai__prompt__1__tool_calls__0__arguments="{}",
    gen_ai__completion__0__role="assistant", gen_ai__completion__0__content="x", gen_ai__completion__0__finish_reason="stop",
    llm__request__functions__0__name="f", llm__request__functions__0__parameters="{}",
)}  # fmt: skip


def _event(name: str, **body: Any) -> dict[str, Any]:
    values = [{"key": key, "value": _text(value)} for key, value in body.items()]
    return {"traceId": "4bf9", "spanId": "00f2", "eventName": name, "body": {"kvlistValue": {"values": values}}, "attributes": []}


EVENTS: Final = [
    _event("gen_ai.user.message", content="hi"),
    _event("gen_ai.assistant.message", tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]),
    _event("gen_ai.tool.message", content="1", id="c"),
    _event("gen_ai.choice", index="0", finish_reason="stop", message={"content": "x"}),
]


def _lc(kind: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": {"content": content, **more}}


EXPORTS: Final[dict[str, tuple[bytes, ...]]] = {
    "otel": (_lines({"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [SPAN]}]}]}), _lines({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"eventName": "gen_ai.client.inference.operation.details", "timeUnixNano": "1", "attributes": SPAN["attributes"]}]}]}]}), _lines({"resourceSpans": [{"scopeSpans": [{"spans": [OPENLLMETRY, {**SPAN, "spanId": "00f2", "attributes": []}]}]}]}, {"resourceLogs": [{"scopeLogs": [{"logRecords": EVENTS}]}]})),
    "phoenix": (_lines({"resourceSpans": [{"scopeSpans": [{"spans": [OPENINFERENCE]}]}]}, {"input": {"messages": [USER]}, "output": {"messages": [ANSWER]}, "metadata": {"model": "m"}}),),
    "openai-stored": (_lines({**COMPLETION, "messages": [{"id": "m1", **USER}], "tools": [TOOL], "metadata": {"k": "v"}}, {**RESPONSE, "input": ASKED["input"]}, {**RESPONSE, "input_items": {"object": "list", "data": ASKED["input"]}}),),
    "batch": (_lines({"custom_id": "r1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [USER], "tools": [TOOL]}}, {"id": "b", "custom_id": "r1", "response": {"status_code": 200, "request_id": "x", "body": COMPLETION}, "error": None}, {"custom_id": "r2", "method": "POST", "url": "/v1/responses", "body": ASKED}, {"custom_id": "r2", "response": {"status_code": 200, "body": RESPONSE}, "error": None}),),
    "langfuse": (_lines({"id": "o1", "traceId": "t1", "type": "GENERATION", "name": "n", "startTime": "2026-10-01T08:00:00.000Z", "model": "m", "level": "DEFAULT", "input": {"messages": [USER], "tools": [TOOL]}, "output": ANSWER, "metadata": {"team": "s"}, "tags": ["g"], "scores": [{"name": "q", "value": 5, "dataType": "NUMERIC"}]}, {"trace": {"id": "t1", "tags": ["g"]}, "observations": [{"type": "GENERATION", "input": "[]", "output": "x"}], "scores": "{}"}, {"trace_id": "t", "name": "q", "value": 1}, {"id": "o", "trace_id": "t", "type": "GENERATION", "input": ASKED["input"], "output": RESPONSE["output"], "tool_definitions": {"f": "{}"}}, {"type": "GENERATION", "input": ASKED, "output": RESPONSE}),),
    "langsmith": (_lines({"id": "r", "name": "n", "run_type": "llm", "start_time": "2026-10-01T08:00:00", "inputs": {"messages": [[_lc("SystemMessage", "s"), _lc("HumanMessage", [{"type": "text", "text": "x"}])]]}, "outputs": {"generations": [[{"text": "x", "generation_info": {"finish_reason": "stop"}, "message": _lc("AIMessage", "", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "c"}], additional_kwargs={})}]]}, "extra": {"metadata": {"ls_model_name": "m"}, "invocation_params": {"tools": [TOOL]}}, "error": None, "tags": ["g"], "feedback_stats": {"q": {"n": 1, "avg": 5.0}}}, {"id": "e", "inputs": {"q": "a"}, "outputs": {"a": "b"}, "metadata": {"dataset_split": "train"}}, {"run_type": "llm", "inputs": ASKED, "outputs": RESPONSE}),),
    "openpipe": (_lines({"messages": [USER, {**CALLING}], "tools": [TOOL], "tool_choice": "auto", "split": "TRAIN"}),),
    "litellm": (_lines({"id": "c", "call_type": "acompletion", "status": "success", "model": "m", "startTime": 1760000000.5, "request_tags": ["g"], "metadata": {"k": "v"}, "messages": [USER], "response": COMPLETION, "model_parameters": {"tools": [TOOL], "parallel_tool_calls": False}, "error_str": None}, {"kwargs": 1, "standard_logging_object": {"messages": [USER], "response": "x"}}),),
    "chat": (_lines({"messages": [USER, ANSWER], "tools": [TOOL], "model": "m", "score": 4, "time": "2026-10-01", "tags": ["a"], "metadata": {"a": 1}}),),
}  # fmt: skip


def _import(name: str) -> Callable[[Path], AbstractContextManager[Check]]:
    return partial(_imported, name=name)


@contextmanager
def _imported(folder: Path, *, name: str) -> Iterator[Check]:
    """An export is refused, or each record becomes a row or a reason; the dataset that was written can be read."""
    from ftspec.data.importers import all_importers
    from ftspec.data.importers.collecting import Wish, collect_calls
    from ftspec.data.importers.reading import records_of
    from ftspec.data.importers.where import all_of

    path, out = folder / "export.jsonl", folder / "out.jsonl"
    keep = all_of(["score!=9", "model!=x", "metadata.k!=z", "time!=1"])

    def check(content: bytes) -> None:
        path.write_bytes(content)
        wish = Wish(output=out, keep=keep, redact=len(content) % 2 == 0, dedupe=len(content) % 3 == 0, reasoning=True, force=True)
        with refusal():
            outcome = collect_calls(all_importers()[name].read(records_of(path)), wish, provenance={"source": name})
            shown(*outcome.skipped)
            for part, made in outcome.files.items():
                _readable(folder, made, outcome.rows[part], outcome.keys[part])

    yield check


def _readable(folder: Path, path: Path, rows: int, key: str) -> None:
    from ftspec.data.digest import digest
    from ftspec.experiment import DesiredDataset

    facts, problems = digest(DesiredDataset(name="out", path=path.name), root=folder)
    assert "out" in facts, problems
    assert (facts["out"].rows, facts["out"].key) == (rows, key)


@contextmanager
def _files_of_records(folder: Path) -> Iterator[Check]:
    """A file of records is refused or read, whatever form it has; the first byte chooses its name."""
    from ftspec.data.importers.reading import records_of

    def check(content: bytes) -> None:
        names = ("a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.csv.gz")
        path = folder / names[content[0] % len(names)] if content else folder / "a.jsonl"
        path.write_bytes(content[1:])
        with refusal():
            for record in records_of(path):
                assert isinstance(record, dict)

    yield check


LLMCOMP: Final = _lines({
    "id": "ftjob-1", "file_name": "rows.jsonl", "base_model": "gpt-4.1-mini-2025-04-14", "suffix": "s", "file_id": "file-1", "epochs": 3,
    "batch_size": 1, "learning_rate_multiplier": 1.8, "file_md5": "", "organization_id": "org-a", "seed": 1, "status": "succeeded",
    "model": "ft:m:org::1", "model-1": "ft:m:ckpt-1", "model-2": "ft:m:ckpt-2",
})  # fmt: skip


@contextmanager
def _llmcomp(folder: Path) -> Iterator[Check]:
    """A data folder of llmcomp is refused by line, or becomes a spec that loads and records that state takes."""
    import hashlib

    from ftspec.pipeline.importing.llmcomp import migrate, record
    from ftspec.pipeline.planning import load
    from ftspec.pipeline.project import open_project

    (folder / "rows.jsonl").write_bytes(ROWS)
    data = folder / "llmcomp_models"
    data.mkdir()
    md5 = hashlib.md5(ROWS, usedforsecurity=False).hexdigest().encode()
    (data / "files.jsonl").write_bytes(_lines({"name": "rows.jsonl", "md5": md5.decode(), "id": "file-1"}))

    def check(content: bytes) -> None:
        (data / "jobs.jsonl").write_bytes(content.replace(b'"file_md5": ""', b'"file_md5": "' + md5 + b'"'))
        state, spec = folder / "state", folder / "ftspec.yaml"
        _cleared(state)
        spec.unlink(missing_ok=True)
        with refusal():
            migration = migrate(open_project(directory=folder, need_spec=False), data)
            record(migration)
            text = migration.stub.text()
            shown(text)
            if migration.stub.jobs:
                spec.write_text(text)
                load(open_project(directory=folder))
        with refusal():
            (data / "files.jsonl").write_bytes(content)
            migrate(open_project(directory=folder, need_spec=False), data)

    yield check


def _cleared(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


AZD: Final = b"""model: gpt-4.1-mini
training_file: local:rows.jsonl
validation_file: file-abc
suffix: s
seed: 1
metadata: {a: b}
method: {type: supervised, supervised: {hyperparameters: {epochs: 3, batch_size: 1, learning_rate_multiplier: 1.0, prompt_loss_weight: 0.1}}}
integrations: [{type: wandb, config: {project: p, api_key: k}}]
extra_body: {trainingType: Standard}
"""


@contextmanager
def _azd(folder: Path) -> Iterator[Check]:
    """A job file of azd is refused, or becomes a spec that loads."""
    from ftspec.pipeline.importing.azd import translate
    from ftspec.pipeline.project import open_project
    from ftspec.spec.source import parse

    (folder / "rows.jsonl").write_bytes(ROWS)
    path = folder / "job.yaml"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        with refusal():
            stub, notes = translate(open_project(directory=folder, need_spec=False), [path])
            shown(*notes, stub.text())
            _, _, problems = parse(stub.text().encode(), "stub.yaml")
            assert not has_errors(problems), problems

    yield check


def _result(content: bytes) -> None:
    """A result file is a series of finite figures, or nothing."""
    from ftspec.engines.result_csv import read_result

    for step, cells in read_result(content).items():
        assert math.isfinite(step)
        assert all(math.isfinite(value) for value in cells.values())


@contextmanager
def _inspected(folder: Path) -> Iterator[Check]:
    """A log of Inspect, and what a program reports, is refused, or becomes samples that are kept."""
    from ftspec.evals.harness_run import read_output
    from ftspec.evals.inspect_logs import read_log

    path = folder / "log.json"

    def check(content: bytes) -> None:
        path.write_bytes(content)
        for read, place in ((read_log, folder), (read_output, path)):
            with refusal():
                for one in read(place).samples:
                    assert isinstance(one.epoch, int)
                    assert all(score is None or math.isfinite(score) for score in one.scores.values())

    yield check


@contextmanager
def _chosen_template(folder: Path) -> Iterator[Check]:
    """`ftspec init --from FILE` refuses a file, or makes a project that loads."""
    from ftspec.cli import _console, group

    def check(content: bytes) -> None:
        _cleared(folder / "made")
        (folder / "rows.jsonl").write_bytes(content)
        assert _console.run(group, ["init", str(folder / "made"), "--from", str(folder / "rows.jsonl")]) in {0, 1, 64}

    yield check


INSPECT: Final = {"status": "success", "samples": [{
    "id": 1, "epoch": 1, "input": [{"role": "user", "content": "x"}], "target": "y", "output": {"completion": "y"},
    "scores": {"match": {"value": "C"}, "more": {"value": {"a": 0.5, "b": "I"}}}, "error": None,
}]}  # fmt: skip

TARGETS: Final = (
    *(Target(name=f"import {name}", form="jsonl", prepare=_import(name), seeds=seeds) for name, seeds in EXPORTS.items()),
    Target(
        name="import files", form="text", prepare=_files_of_records,
        seeds=(b"\x00" + EXPORTS["chat"][0], b'\x01[{"a":1},{"b":[2]}]', b'\x02a,b\n"x ""y""",1\n,,3\n', b"\x03" + gzip.compress(EXPORTS["chat"][0]), b"\x04" + gzip.compress(b"a,b\n1,2\n")),
    ),
    Target(name="import llmcomp", form="jsonl", prepare=_llmcomp, seeds=(LLMCOMP,)),
    Target(name="import azd", form="yaml", prepare=_azd, seeds=(AZD,)),
    Target(name="result file", form="text", prepare=simple(_result), seeds=(b"step,train_loss,valid_loss\n1,0.5,\n2,0.25,0.3\n", b"c3RlcCx0cmFpbl9sb3NzCjEsMC41Cg==", b'\xef\xbb\xbf"Step";x\r\n1;nan\r\n')),
    Target(name="harness log", prepare=_inspected, seeds=(json.dumps(INSPECT).encode(), b'{"samples":[{"id":"a","scores":{"x":0.5,"y":true,"z":null},"epoch":2}],"scores":{"f":1}}')),
    Target(name="init data", form="jsonl", prepare=_chosen_template, seeds=(ROWS,)),
)  # fmt: skip
