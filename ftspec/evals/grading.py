"""Grading one answer: the sample that graders see, and the sync form for reinforcement trainers.

`sample_of` makes the `sample` of templates from an engine's answer. `grade_sync` is what a
trainer in this process calls, thousands of times, with the same definition; `SyncGrader` keeps
the parsed definition and its processes between the calls.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ftspec.evals.base import Grade, Grader, GraderStopped, MissingField, ModelGrader, bind, ungraded
from ftspec.evals.code import Code, CodeError

if TYPE_CHECKING:
    from ftspec.engines.base import ChatAnswer
    from ftspec.evals.isolation import CodeProcess


def sample_of(
    text: str,
    *,
    tool_calls: Sequence[Mapping[str, Any]] = (),
    finish_reason: str | None = None,
    refusal: str | None = None,
) -> dict[str, Any]:
    """Return what graders know of an answer. `output_json` is there only where the text is JSON."""
    calls = [dict(call) for call in tool_calls]
    message: dict[str, Any] = {"role": "assistant", "content": text}
    sample: dict[str, Any] = {
        "output_text": text,
        "output_tools": calls,
        "refusal": refusal,
        "finish_reason": finish_reason,
        "choices": [{"index": 0, "message": {**message, "tool_calls": calls} if calls else message, "finish_reason": finish_reason}],
    }
    with contextlib.suppress(ValueError):
        sample["output_json"] = json.loads(text)
    return sample


async def grade_with(grader: Grader, sample: Mapping[str, Any], item: Mapping[str, Any], context: Any) -> Grade:
    """Grade, and turn what this row or this code lacks into an ungraded answer."""
    try:
        return await grader.grade(sample, item, context)
    except MissingField as missing:
        return ungraded(str(missing))
    except CodeError as error:
        return ungraded(str(error))


class SyncGrader:
    """One definition, ready to grade many answers without an event loop. Use it as a context manager."""

    def __init__(self, definition: Mapping[str, Any], *, allow_code: bool = False, isolation: str | None = None) -> None:
        self._grader = bind(definition)
        if self._grader.models():
            raise GraderStopped(f"`{self._grader.type}` asks a model, which this trainer cannot")
        self._processes: dict[Code, CodeProcess] = {}
        if codes := self._grader.code():
            from ftspec.evals.isolation import CodeProcess, choose_wall

            if not allow_code:
                raise code_refused(codes)
            wall = choose_wall(isolation)
            self._processes = {code: CodeProcess(code, wall=wall) for code in codes}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes of its code."""
        for process in self._processes.values():
            process.close()

    def grade(self, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Grade:
        """Grade one answer. Nothing that it awaits ever waits, so one step runs it to its end."""
        steps = grade_with(self._grader, sample, item, self)
        try:
            steps.send(None)
        except StopIteration as end:
            grade: Grade = end.value
            return grade
        finally:
            steps.close()
        raise GraderStopped(f"`{self._grader.type}` waits for something, which a trainer cannot")

    async def call(self, code: Code, *arguments: Any) -> Any:
        """Call user code in its process."""
        return self._processes[code].call(*arguments)

    async def ask(self, grader: ModelGrader, messages: list[dict[str, Any]], **sampling: Any) -> ChatAnswer:
        """Refuse: there is no judge here."""
        raise GraderStopped(
            f"`{grader.type}` asks `{grader.model}`, which this trainer cannot ({len(messages)} messages, {len(sampling)} settings)"
        )


def grade_sync(
    definition: Mapping[str, Any], sample: Mapping[str, Any] | str, item: Mapping[str, Any], *, allow_code: bool = False
) -> float:
    """Return the score of one answer (a `sample`, or its text). `GraderStopped` where it cannot be graded.

    For many answers with one definition, keep a `SyncGrader`.
    """
    with SyncGrader(definition, allow_code=allow_code) as grader:
        grade = grader.grade(sample_of(sample) if isinstance(sample, str) else sample, item)
    if grade.score is None:
        raise GraderStopped(f"the answer could not be graded: {grade.error}")
    return grade.score


def code_refused(codes: Sequence[Code]) -> GraderStopped:
    """Return the stop for code that the user has not allowed, with its digests."""
    shown = ", ".join(f"`{code.function}` sha256:{code.digest[:12]}" for code in codes)
    return GraderStopped(f"a grader runs code of this project ({shown})", help="read it, then add `--allow-code`")
