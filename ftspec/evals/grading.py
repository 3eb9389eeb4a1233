"""Grading one answer: the sample that graders see, and the sync form for reinforcement trainers.

`sample_of` makes the `sample` of templates from an engine's answer. `SyncGraders` (`grade_sync` is
one that runs no code) is what a trainer in this process calls, thousands of times, with the same
definition: parsed definitions and their processes are kept between the calls.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ftspec.evals.base import Grade, Grader, GraderStopped, MissingField, ModelGrader, bind, ungraded
from ftspec.evals.code import Code, CodeError
from ftspec.fingerprint import canonical_json

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
    with contextlib.suppress(ValueError, RecursionError):
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
    except RecursionError:
        return ungraded("the answer is nested too deeply")


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


class SyncGraders:
    """Graders by definition, kept between calls, for who gets a definition with each answer."""

    def __init__(self, *, allow_code: bool = False, isolation: str | None = None, keep: int = 8) -> None:
        self.allow_code, self._isolation, self._keep = allow_code, isolation, keep
        self._graders: dict[bytes, SyncGrader] = {}
        self._lock = threading.Lock()
        atexit.register(self.close)

    def __call__(self, definition: Mapping[str, Any], sample: Mapping[str, Any] | str, item: Mapping[str, Any], /) -> float:
        """Return the score of one answer: a `sample`, or its text (`GraderStopped`, a `ValueError`: it cannot be graded)."""
        seen = sample_of(sample) if isinstance(sample, str) else {**sample_of(str(sample.get("output_text", ""))), **sample}
        grade = self._grader(definition).grade(seen, item)
        if grade.score is None:
            raise GraderStopped(f"the answer could not be graded: {grade.error}")
        return grade.score

    def _grader(self, definition: Mapping[str, Any]) -> SyncGrader:
        key = canonical_json(dict(definition))
        with self._lock:
            found = self._graders.pop(key, None) or SyncGrader(definition, allow_code=self.allow_code, isolation=self._isolation)
            self._graders[key] = found
            while len(self._graders) > self._keep:
                self._graders.pop(next(iter(self._graders))).close()
            return found

    def close(self) -> None:
        """End all processes."""
        atexit.unregister(self.close)
        with self._lock:
            for grader in self._graders.values():
                grader.close()
            self._graders.clear()


grade_sync = SyncGraders()
"""`grade_sync(definition, sample, item) -> float`, for graders that run no code of the project."""


def code_refused(codes: Sequence[Code]) -> GraderStopped:
    """Return the stop for code that the user has not allowed, with its digests."""
    shown = ", ".join(f"`{code.function}` sha256:{code.digest[:12]}" for code in codes)
    return GraderStopped(f"a grader runs code of this project ({shown})", help="read it, then add `--allow-code`")
