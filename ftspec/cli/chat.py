"""Ask a trained model, or compare it with its base."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ftspec.cli import _console
from ftspec.cli._options import project_options
from ftspec.diagnostics import FtspecError
from ftspec.printable import printable

if TYPE_CHECKING:
    from ftspec.engines.base import Engine
    from ftspec.pipeline.planning import Loaded
    from ftspec.pipeline.project import Project
    from ftspec.record import RecordedJob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """Somebody to ask: a name to show, the engine's entry, the engine's name of the model."""

    label: str
    engine: str
    name: str


@click.command()
@click.argument("address", metavar="ADDRESS[@STEP]")
@click.argument("prompt", required=False)
@project_options
@click.option("--base", is_flag=True, help="Ask the base model too.")
@click.option("--system", metavar="TEXT", help="System message.")
@click.option("--engine", metavar="NAME", help="Take ADDRESS as the name of a model of this engine.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="T", help="0 is deterministic where the engine allows it.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Longest answer.")
@click.option("--json", "as_json", is_flag=True, help="The answers as JSON.")
def command(  # noqa: PLR0913 click passes each option
    project: Project,
    address: str,
    prompt: str | None,
    *,
    base: bool,
    system: str | None,
    engine: str | None,
    temperature: float | None,
    max_tokens: int | None,
    as_json: bool,
) -> None:
    r"""Ask a trained model, or compare it with its base.

    ADDRESS names a job; `@STEP` one of its checkpoints. Without PROMPT, standard input is the
    prompt; on a terminal it is a conversation, which an empty line ends.

    \b
        ftspec chat triage/epochs=3,seed=1 "I want my money back"
        ftspec chat style@40 --base < question.txt
        ftspec chat gpt-4.1-mini --engine openai "hello"
    """
    import asyncio

    from ftspec.pipeline.planning import load

    loaded = load(project)
    record = None
    if engine is None:
        record, models = _trained(loaded, address, base=base)
    else:
        models = [_Model(label=address, engine=engine, name=address)]
    sampling = {name: value for name, value in (("temperature", temperature), ("max_tokens", max_tokens)) if value is not None}
    talk = prompt is None and sys.stdin.isatty() and not as_json
    if prompt is None and not talk:
        prompt = sys.stdin.read()
    asyncio.run(_ask(loaded, models, prompt, system=system, sampling=sampling, as_json=as_json, record=record))


def _trained(loaded: Loaded, address: str, *, base: bool) -> tuple[RecordedJob, list[_Model]]:
    """Return the job, and its model, or one of its checkpoints, and its base where it is asked for."""
    from ftspec.cli._records import only
    from ftspec.pipeline.planning import state_of

    state, problems = state_of(loaded.project, loaded.spec).read()
    _console.show(problems)
    name, at, step = address.rpartition("@")
    record = only(state, name if at and step.isdecimal() else address)
    attempt = next((one for one in reversed(record.attempts) if one.model), record.last)
    if attempt.model is None:
        raise FtspecError(f"{record.address} has no model ({record.status})", help=f"`ftspec status '{record.address}'` says more")
    model = attempt.model
    if at and step.isdecimal():
        checkpoints = {str(one.step): one.model for one in attempt.checkpoints}
        if step not in checkpoints:
            raise FtspecError(f"{record.address} has no checkpoint at step {step}", help=f"it has: {', '.join(checkpoints) or 'none'}")
        model = checkpoints[step]
    found = [_Model(label=address, engine=record.engine, name=model)]
    if base:
        before = str(attempt.requested.get("model") or attempt.base_model)
        found.append(_Model(label=f"base {before}", engine=record.engine, name=before))
    return record, found


async def _ask(
    loaded: Loaded,
    models: list[_Model],
    prompt: str | None,
    *,
    system: str | None,
    sampling: dict[str, Any],
    as_json: bool,
    record: RecordedJob | None = None,
) -> None:
    """Ask every model the prompt, or hold a conversation with all of them; `record` says whose key the model answers to."""
    from ftspec.engines.base import EngineError
    from ftspec.pipeline.session import Session

    async with Session(loaded.project, loaded.spec) as session:
        session.remember([record] if record is not None else [])
        threads: dict[_Model, list[dict[str, str]]] = {model: _opening(system) for model in models}
        answers = []
        while (text := prompt if prompt is not None else _next_line()) is not None:
            for model, messages in threads.items():
                messages.append({"role": "user", "content": text})
                engine = session.engine(model.engine)
                try:
                    if as_json:
                        answers.append(await _whole(engine, model, messages, sampling))
                    else:
                        answer = await _streamed(engine, model, messages, sampling, several=len(models) > 1)
                        messages.append({"role": "assistant", "content": answer})
                except EngineError as error:
                    needs = session.profile(model.engine).deployment
                    raise FtspecError(
                        f"`{model.engine}` did not answer for `{printable(model.name)}`: {error.message}",
                        help=f"on this engine: {needs}" if needs else None,
                    ) from None
            if prompt is not None:
                break
    if as_json:
        from ftspec.render.json import dumps

        _console.out_raw(dumps({"format_version": "1.0", "answers": answers}))


def _opening(system: str | None) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}] if system is not None else []


def _next_line() -> str | None:
    """Return what the person types next; an empty line or the end of input ends the conversation."""
    sys.stderr.write("> ")
    sys.stderr.flush()
    return sys.stdin.readline().rstrip("\n") or None


async def _streamed(engine: Engine, model: _Model, messages: list[dict[str, str]], sampling: dict[str, Any], *, several: bool) -> str:
    """Write an answer as it comes."""
    pieces: list[str] = []
    with ExitStack() as until_it_begins:
        until_it_begins.enter_context(_console.waiting(f"asking {printable(model.label)}"))
        async for piece in engine.chat_stream(model=model.name, messages=messages, **sampling):
            until_it_begins.close()
            if several and not pieces:
                _console.out_raw(f"[{printable(model.label)}] ")
            pieces.append(piece)
            _console.out_raw(printable(piece, newlines=True))
    if several and not pieces:
        _console.out_raw(f"[{printable(model.label)}]")
    _console.out()
    return "".join(pieces)


async def _whole(engine: Engine, model: _Model, messages: list[dict[str, str]], sampling: dict[str, Any]) -> dict[str, Any]:
    answer = await engine.chat(model=model.name, messages=messages, **sampling)
    return {
        "asked": model.label,
        "model": model.name,
        "text": answer.text,
        "refusal": answer.refusal,
        "finish_reason": answer.finish_reason,
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
    }
