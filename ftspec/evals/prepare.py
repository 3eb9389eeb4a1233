"""From the eval that a spec declares to one that can be planned, keyed and run. Runs nothing.

Files that graders and prompts name are read in, so that the eval's key holds their content and
not their place; `preset: classification` becomes the grader that it means; for `kind: inspect` and
`kind: command` the program stands for the graders; every definition is checked. `plan`, `apply` and
`eval` all start from the prepared eval.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ftspec.diagnostics import Diagnostic, FtspecError, Place, Severity, error
from ftspec.evals.base import bind, check_definition, parse
from ftspec.evals.classification import PRESET_GRADER
from ftspec.evals.code import WALLS, inlined, read_text
from ftspec.evals.gates import gate_problems, parse_gate
from ftspec.evals.harness import COMMON_OPTIONS, KINDS, command_text, harness_problems, identity
from ftspec.evals.items import prompt_problems
from ftspec.experiment import DesiredEval
from ftspec.fingerprint import SHORT, digest
from ftspec.printable import printable


def prepare(eval: DesiredEval, *, root: Path) -> tuple[DesiredEval, list[Diagnostic]]:  # noqa: A002 the word for it
    """Return the eval with everything read in, and what is wrong with it."""
    if (kind := str(eval.options.get("kind"))) in KINDS:
        return _prepare_harness(eval, kind, root)
    declared: Mapping[str, Mapping[str, Any]] = eval.graders
    labelled = eval.options.get("preset") == "classification"
    if not declared and labelled:
        declared = {"correct": PRESET_GRADER}
    graders: dict[str, dict[str, Any]] = {}
    prompt, problems = _prompt(eval, root)
    problems += [error("bad-eval", f"eval `{eval.name}`: {one}", at=eval.at) for one in _option_problems(eval.options)]
    for name, definition in declared.items():
        ready, wrong = prepare_grader(name, definition, root=root, at=eval.grader_places.get(name, eval.at))
        problems += wrong
        if ready is not None:
            graders[name] = ready
    for gate in eval.require:
        try:
            found = gate_problems(parse_gate(gate), declared, labelled=labelled)
        except FtspecError as stop:
            found = [stop.message]
        problems += [error("bad-gate", one, at=eval.at) for one in found]
    return replace(eval, graders=graders, prompt=prompt), problems


def _option_problems(options: Mapping[str, Any]) -> list[str]:
    problems = [f"options.{name}: an eval that is graded here has no such option" for name in sorted(set(options) - COMMON_OPTIONS)]
    if options.get("isolation", WALLS[0]) not in WALLS:
        problems.append(f"isolation: must be one of {', '.join(f'`{wall}`' for wall in WALLS)}")
    return problems


def _prepare_harness(eval: DesiredEval, kind: str, root: Path) -> tuple[DesiredEval, list[Diagnostic]]:  # noqa: A002 the word for it
    """Return an eval of another program: its only grader is the program, which is what its key is made of."""
    wrong = harness_problems(kind, eval.options)
    wrong += [
        f"{name}: `kind: {kind}` has none of its own" for name, given in (("graders", eval.graders), ("prompt", eval.prompt)) if given
    ]
    for gate in eval.require:
        try:
            parse_gate(gate)
        except FtspecError as stop:
            wrong.append(stop.message)
    if wrong:
        return eval, [error("bad-eval", f"eval `{eval.name}`: {one}", at=eval.at) for one in wrong]
    program = identity(kind, eval.options, root)
    what = f"eval `{eval.name}` runs a program, `{printable(command_text(eval.options))}`, sha256:{digest(program)[:SHORT]}"
    return replace(eval, graders={"program": program}), [_runs_code(what, at=eval.at)]


def prepare_grader(
    name: str, definition: Mapping[str, Any], *, root: Path, at: Place | None = None
) -> tuple[dict[str, Any] | None, list[Diagnostic]]:
    """Return a definition with its files read in, and what is wrong with it."""
    try:
        ready = inlined(definition, root)
    except FtspecError as unreadable:
        return None, [error("bad-grader", f"{name}: {unreadable.message}", at=at)]
    problems = [error("bad-grader", problem, at=at) for problem in check_definition(name, ready)]
    codes = () if problems else bind(ready).code()
    return ready, problems or [
        _runs_code(f"the grader `{name}` runs `{code.function}`, sha256:{code.digest[:SHORT]}", at=at) for code in codes
    ]


def _runs_code(what: str, *, at: Place | None) -> Diagnostic:
    return Diagnostic(code="runs-code", severity=Severity.INFO, message=what, at=at, help="read it; it runs only with `--allow-code`")


def judges_of(eval: DesiredEval) -> frozenset[tuple[str | None, str]]:  # noqa: A002 the word for it
    """Return the judges that a prepared eval asks: (engine entry or `None`, model)."""
    graders = (parse(definition)[0] for definition in eval.graders.values())
    return frozenset(judge for grader in graders if grader is not None for judge in grader.models())


def _prompt(eval: DesiredEval, root: Path) -> tuple[Any, list[Diagnostic]]:  # noqa: A002 the word for it
    prompt = eval.prompt
    if isinstance(prompt, Mapping):
        if set(prompt) != {"path"} or not isinstance(prompt["path"], str):
            return None, [
                error("bad-prompt", f"the prompt of eval `{eval.name}` is text, a list of messages, or `{{path: FILE}}`", at=eval.at)
            ]
        try:
            prompt = read_text(prompt["path"], root, what="prompt")
        except FtspecError as unreadable:
            return None, [error("bad-prompt", unreadable.message, at=eval.at)]
    return prompt, [error("bad-prompt", f"eval `{eval.name}`: {problem}", at=eval.at) for problem in prompt_problems(prompt)]
