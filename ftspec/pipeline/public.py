"""The Python API: what `import ftspec` offers to notebooks, services and CI scripts.

```python
import ftspec

planned = ftspec.plan("specs/tone.yaml")
print(planned.plan.cost, planned.plan.empty)
ftspec.apply("specs/tone.yaml", approve=True)
ftspec.model("tone/seed=1")                      # "ft:sandbox-small:..."
ftspec.models(base_model="sandbox-small").to_pandas()
```

Every function takes `root` (default: the current folder). Problems are raised as
`ftspec.FtspecError` with `message`, `help`, `diagnostics` and the `exit_code` that the command
line would leave with; a traceback shows them all. `models`, `model` and `model_list` read state and
lockfile only: they need no spec (one may say where state is), no key and no network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from ftspec.diagnostics import FtspecError
from ftspec.pipeline.applying import Applied, ApplyRequest
from ftspec.pipeline.planning import Loaded, Planned, PlanOptions
from ftspec.pipeline.project import Project, open_project

if TYPE_CHECKING:
    import pandas as pd

    from ftspec.executor.progress import Progress
    from ftspec.record import State
    from ftspec.state.lockfile import Lock
    from ftspec.state.trained import TrainedModel

Files: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]


class NotApproved(FtspecError):
    """`apply` was called without approval."""

    exit_code = 7


P = ParamSpec("P")
R = TypeVar("R")


def _explained(function: Callable[P, R]) -> Callable[P, R]:
    """Let a traceback of an `FtspecError` show what the command line would: problems with their places, and the way out."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except FtspecError as error:
            from ftspec.render.diagnostics import to_text

            if error.diagnostics:
                error.add_note(to_text(error.diagnostics))
            if error.help:
                error.add_note(f"help: {error.help}")
            raise

    return call


@_explained
def load(files: Files = (), *, root: str | PathLike[str] = ".", variables: Mapping[str, str] | None = None) -> Loaded:
    """Load spec files (default: `ftspec.yaml`, then `specs/*.yaml`). Raises `FtspecError` with all diagnostics."""
    from ftspec.pipeline.planning import load as load_project

    return load_project(_project(files, root, variables))


@_explained
def plan(
    files: Files = (), *, root: str | PathLike[str] = ".", variables: Mapping[str, str] | None = None, options: PlanOptions | None = None
) -> Planned:
    """Compare spec files with state: `.plan` says what is missing, why, and what it costs. Buys nothing, asks nobody."""
    from ftspec.pipeline.planning import make_plan

    return make_plan(_project(files, root, variables), options)


@_explained
def apply(
    files: Files = (),
    *,
    root: str | PathLike[str] = ".",
    variables: Mapping[str, str] | None = None,
    approve: bool | Callable[[Planned], bool] = False,
    request: ApplyRequest | None = None,
    progress: Progress | None = None,
) -> Applied:
    """Buy what is missing, wait for it, evaluate it, record it.

    `approve` is `True`, or a function that sees the plan and says whether it may be bought; by
    default nothing is approved and `NotApproved` is raised unless there is nothing to do.
    `progress` hears of every event (`ftspec.executor.progress`). Call it outside of a running event loop.
    """
    from contextlib import nullcontext

    from ftspec.executor.progress import silent
    from ftspec.pipeline.applying import apply as apply_project

    def ask(planned: Planned) -> None:
        if not (approve(planned) if callable(approve) else approve):
            raise NotApproved("the plan was not approved; nothing was bought", help="pass `approve=True`, or a function that decides")

    return apply_project(
        _project(files, root, variables), request or ApplyRequest(), approve=ask, progress=lambda _: nullcontext(progress or silent)
    )


class ModelTable(Sequence["TrainedModel"]):
    """Trained models, sorted by address: a sequence of `TrainedModel` that can become a DataFrame."""

    def __init__(self, rows: Sequence[TrainedModel]) -> None:
        self._rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> TrainedModel: ...
    @overload
    def __getitem__(self, index: slice) -> ModelTable: ...
    def __getitem__(self, index: int | slice) -> TrainedModel | ModelTable:
        """Return one row, or a table of some."""
        return ModelTable(self._rows[index]) if isinstance(index, slice) else self._rows[index]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def __iter__(self) -> Iterator[TrainedModel]:
        """Yield the rows."""
        return iter(self._rows)

    def __repr__(self) -> str:
        """Return the table as text."""
        return "\n".join([f"ModelTable of {len(self)}:", *(f"  {row.address}  {row.model}" for row in self._rows)])

    def to_pandas(self) -> pd.DataFrame:
        """Return a DataFrame with a column per setting (needs `pip install 'ftspec[pandas]'`)."""
        try:
            import pandas as pd
        except ImportError:
            raise FtspecError("pandas is not installed", help="pip install 'ftspec[pandas]'") from None
        return pd.DataFrame([row.flat() for row in self._rows])


@_explained
def models(files: Files = (), *, root: str | PathLike[str] = ".", history: bool = False, **where: Any) -> ModelTable:
    """Return the trained models that fit `where`: any setting, axis or tag (`base_model=`, `seed=`, `suffix=`)."""
    from ftspec.state.trained import models as trained

    state, lock = _recorded(files, root)
    return ModelTable(trained(state, lock, history=history, where={name: str(value) for name, value in where.items()}))


@_explained
def model(address: str, files: Files = (), *, root: str | PathLike[str] = ".") -> str:
    """Return the name of the model of an address (`"triage/seed=1"`, or `"triage"` where it has one). Raises `FtspecError`."""
    from ftspec.state.trained import model as trained

    state, lock = _recorded(files, root)
    return trained(state, lock, address).asked


def model_list(files: Files = (), *, root: str | PathLike[str] = ".", **where: Any) -> list[str]:
    """Return only the names of `models(...)`."""
    return [row.asked for row in models(files, root=root, **where)]


def _project(files: Files, root: str | PathLike[str], variables: Mapping[str, str] | None = None, *, need_spec: bool = True) -> Project:
    several = [files] if isinstance(files, (str, PathLike)) else list(files)
    return open_project(directory=Path(root), files=[Path(one) for one in several], variables=variables, need_spec=need_spec)


def _recorded(files: Files, root: str | PathLike[str]) -> tuple[State, Lock | None]:
    from ftspec.diagnostics import has_errors
    from ftspec.pipeline.planning import InvalidSpec, recorded_in
    from ftspec.state.lockfile import read

    project = _project(files, root, need_spec=False)
    state, problems = recorded_in(project).read()
    lock, more = read(project.lockfile)
    if has_errors([*problems, *more]):
        raise InvalidSpec([*problems, *more])
    return state, lock
