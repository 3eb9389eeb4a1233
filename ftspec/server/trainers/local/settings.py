"""What an entry of type `local` says about where and how to train, checked.

```yaml
engines:
  local:
    type: local
    python: .venv-train/bin/python       # an environment with `ftspec[local]`; default: the current one
    models:
      tiny: models/tiny                  # a folder: config.json, *.safetensors, tokenizer
      qwen: {repo: Qwen/Qwen3-0.6B, revision: c1899de289a04d12100db370d81485cdf75e47ca}
    executor: slurm
    slurm: {partition: gpu, account: research}
```

Relative paths are relative to the project's root. Nothing here looks at a disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ftspec.diagnostics import FtspecError

SETTINGS = (
    "models", "python", "executor", "slots", "gpus", "cpus", "memory_gb", "time_limit", "micro_batch", "precision",
    "checkpoint_seconds", "max_attempts", "serve_url", "slurm", "ray",
)  # fmt: skip
"""What each one means stands in the engine's profile."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-/]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base model: a folder, or a hub's repository at one commit."""

    name: str
    path: Path | None = None
    repo: str | None = None
    revision: str | None = None

    def wire(self) -> dict[str, Any]:
        """Return it as a worker reads it."""
        return {"name": self.name, "path": str(self.path) if self.path else None, "repo": self.repo, "revision": self.revision}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """An entry, checked."""

    models: Mapping[str, Base] = field(default_factory=dict)
    python: str | None = None
    executor: str = "local"
    slots: int | None = None
    gpus: tuple[int, ...] | int | None = None
    cpus: int | None = None
    memory_gb: float | None = None
    time_limit: int | None = None
    micro_batch: int = 8
    precision: Literal["float32", "bfloat16"] | None = None
    checkpoint_seconds: float = 300.0
    max_attempts: int = 3
    serve_url: str | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    ray: Mapping[str, Any] = field(default_factory=dict)


def settings(options: Mapping[str, Any], *, folder: Path, entry: str = "local") -> Settings:
    """Return the settings of an entry; `FtspecError` says which one is wrong."""
    read = _Reader(options, entry)
    for name in options:
        if name not in SETTINGS:
            raise read.wrong(name, f"one of {', '.join(f'`{known}`' for known in SETTINGS)}")
    return Settings(
        models=_models(read, folder),
        python=_python(read, folder),
        executor=read.one_of("executor", ("local", "slurm", "ray")) or "local",
        slots=read.whole("slots"),
        gpus=_gpus(read, cluster=options.get("executor") in {"slurm", "ray"}),
        cpus=read.whole("cpus"),
        memory_gb=read.number("memory_gb"),
        time_limit=read.whole("time_limit"),
        micro_batch=read.whole("micro_batch") or 8,
        precision=read.one_of("precision", ("float32", "bfloat16")),
        checkpoint_seconds=read.number("checkpoint_seconds") or 300.0,
        max_attempts=read.whole("max_attempts") or 3,
        serve_url=_url(read, "serve_url", read.options.get("serve_url")),
        slurm=_block(read, "slurm", ("partition", "account", "qos", "constraint", "arguments")),
        ray=_ray(read),
    )


class _Reader:
    def __init__(self, options: Mapping[str, Any], entry: str) -> None:
        self.options = options
        self._entry = entry

    def wrong(self, name: str, expected: str) -> FtspecError:
        return FtspecError(f"`{name}` of engine `{self._entry}` is not usable", help=f"expected {expected}")

    def whole(self, name: str) -> int | None:
        value = self.options.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise self.wrong(name, "a whole number of at least 1")
        return value

    def number(self, name: str) -> float | None:
        value = self.options.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
            raise self.wrong(name, "a number above 0")
        return float(value)

    def one_of(self, name: str, values: tuple[str, ...]) -> Any:
        value = self.options.get(name)
        if value is not None and value not in values:
            raise self.wrong(name, f"one of {', '.join(f'`{one}`' for one in values)}")
        return value


def _models(read: _Reader, folder: Path) -> dict[str, Base]:
    given = read.options.get("models") or {}
    if not isinstance(given, Mapping):
        raise read.wrong("models", "`models: {NAME: FOLDER}`")
    return {str(name): _base(read, str(name), value, folder) for name, value in given.items()}


def _base(read: _Reader, name: str, value: Any, folder: Path) -> Base:
    where = f"models.{name}"
    if not _NAME.fullmatch(name):
        raise read.wrong(where, "a name of letters, digits, `-`, `_`, `.` and `/`")
    if isinstance(value, str) and value:
        return Base(name=name, path=folder / Path(value).expanduser())
    if isinstance(value, Mapping) and set(value) == {"path"} and isinstance(value["path"], str):
        return Base(name=name, path=folder / Path(value["path"]).expanduser())
    if isinstance(value, Mapping) and set(value) == {"repo", "revision"} and isinstance(value["repo"], str):
        if not _COMMIT.fullmatch(str(value["revision"])):
            raise read.wrong(f"{where}.revision", "the full commit id: a branch or a tag may move, and the models of a grid with it")
        return Base(name=name, repo=value["repo"], revision=value["revision"])
    raise read.wrong(where, "a folder, or `{repo: OWNER/NAME, revision: COMMIT}`")


def _python(read: _Reader, folder: Path) -> str | None:
    value = read.options.get("python")
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise read.wrong("python", "the path of an interpreter")
    return str(folder / Path(value).expanduser()) if "/" in value else value


def _gpus(read: _Reader, *, cluster: bool) -> tuple[int, ...] | int | None:
    """Return which GPUs of this machine, or how many: on a cluster a job has one, or none."""
    value = read.options.get("gpus")
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= (1 if cluster else value)):
        return value
    if cluster:
        raise read.wrong("gpus", "1 or 0: a job trains on one GPU, and the cluster says on which")
    numbers = isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in value)
    if numbers and value and len(set(value)) == len(value):
        return tuple(value)
    raise read.wrong("gpus", "a number, or a list of GPU numbers, each once: every job trains on one of them")


def _url(read: _Reader, name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?", value):
        raise read.wrong(name, "`http://HOST[:PORT][/PATH]`")
    return value.rstrip("/")


SBATCH = frozenset({
    "account", "begin", "clusters", "comment", "constraint", "core-spec", "cores-per-socket", "cpus-per-gpu", "deadline", "distribution",
    "exclude", "exclusive", "gres", "gpus-per-node", "gpus-per-socket", "hint", "licenses", "mem", "mem-per-cpu", "mem-per-gpu", "mincpus",
    "network", "nice", "nodelist", "nodes", "oversubscribe", "partition", "power", "priority", "qos", "reservation", "sockets-per-node",
    "spread-job", "switches", "threads-per-core", "time", "time-min", "tmp", "use-min-nodes", "wckey",
})  # fmt: skip
"""Options of `sbatch` that a spec may give. Others write files where they like (`--output`), set variables
(`--export=LD_PRELOAD=...`), run programs or send mail."""


def _block(read: _Reader, name: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    value = read.options.get(name) or {}
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise read.wrong(name, f"a block with some of {', '.join(f'`{one}`' for one in known)}")
    for key, one in value.items():
        words = one if key == "arguments" else [one]
        if not isinstance(words, list) or not all(isinstance(word, str) and word and "\n" not in word for word in words):
            raise read.wrong(f"{name}.{key}", "a list of words" if key == "arguments" else "a word")
    for word in value.get("arguments", ()):
        if word.partition("=")[0].removeprefix("--") not in SBATCH or not word.startswith("--"):
            raise read.wrong(
                f"{name}.arguments", "`--NAME[=VALUE]` of what says where, when and with how much; variables SBATCH_* give others"
            )
    return value


def _ray(read: _Reader) -> Mapping[str, Any]:
    value = read.options.get("ray") or {}
    if not isinstance(value, Mapping) or not set(value) <= {"address", "resources"}:
        raise read.wrong("ray", "`{address: http://HEAD:8265}`")
    _url(read, "ray.address", value.get("address"))
    resources = value.get("resources") or {}
    if not isinstance(resources, Mapping) or not all(isinstance(one, int | float) for one in resources.values()):
        raise read.wrong("ray.resources", "amounts by name")
    return value
