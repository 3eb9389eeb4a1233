"""Serve an engine over a port, for any client of OpenAI's protocol."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftspec.cli import _console
from ftspec.diagnostics import FtspecError

if TYPE_CHECKING:
    from ftspec.experiment import EngineEntry


log = logging.getLogger("ftspec.server")


class Unlocked(FtspecError):
    """Nobody said who may ask."""

    exit_code = _console.USAGE


@click.command()
@click.option("--engine", default="sandbox", show_default=True, help="What trains and answers: `sandbox`, `local`, or an entry of a spec.")
@click.option("-f", "--file", "spec", metavar="FILE", help="Spec whose `engines:` has the entry with its settings.")
@click.option("--model", "models", multiple=True, metavar="NAME=FOLDER", help="Base model of the local engine. Repeatable.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the server's records (default: .ftspec/ENGINE, the one that specs here use).",
)
@click.option("--api-key-env", metavar="NAME", help="Variable that holds the key which clients must send.")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File of keys, one `KEY PROJECT [requests=N] [jobs=N]` a line: every project sees its own files, jobs and models only.",
)
@click.option("--log-json", is_flag=True, help="Log requests and jobs to stderr, a JSON object a line.")
@click.option("--no-auth", is_flag=True, help="Let every program on this machine in (loopback only).")
def command(  # noqa: PLR0913 click passes one a flag
    *,
    engine: str,
    spec: str | None,
    models: tuple[str, ...],
    host: str,
    port: int,
    root: Path | None,
    api_key_env: str | None,
    key_file: Path | None,
    log_json: bool,
    no_auth: bool,
) -> None:
    """Serve an engine over a port, for any client of OpenAI's protocol.

    The address goes to stdout once requests are answered. The first Ctrl-C finishes what is
    under way; unfinished jobs go on at the next start. Plain HTTP: put a TLS proxy in front
    before other machines send keys.

    \b
        ftspec serve --no-auth
        ftspec serve --api-key-env FTSPEC_SERVER_KEY --port 0
        ftspec serve --host 0.0.0.0 --key-file keys.txt
        ftspec serve --engine local --model tiny=models/tiny --no-auth
    """  # noqa: D301 click wants the character itself
    from ftspec.engines.open import check_serve_url
    from ftspec.engines.trust import TrustStore
    from ftspec.evals.grading import grade_sync
    from ftspec.pipeline.interpreters import check_interpreter
    from ftspec.pipeline.planning import profiles
    from ftspec.server.inprocess import engine_app
    from ftspec.server.meter import Meter
    from ftspec.server.meter import log_json as begin_log
    from ftspec.server.serving import base_url, is_loopback, listen, read_limits, serve

    entry = _entry(engine, spec, models)
    check_interpreter(entry, root=Path.cwd(), environ=os.environ)
    if entry.type in profiles():
        check_serve_url(entry, profile=profiles()[entry.type], trust=TrustStore.load(os.environ, project_root=Path.cwd()))
    root = root or Path(".ftspec") / entry.type
    if log_json:
        begin_log()
    api_keys = _keys(api_key_env, key_file, no_auth=no_auth, loopback=is_loopback(host))
    listener = listen(host, port)
    if not is_loopback(host):
        warning = "plain HTTP: keys and data travel unencrypted unless a TLS proxy stands in front"
        log.warning(warning) if log_json else _console.warn(warning)
    app = engine_app(
        entry,
        root,
        grade=grade_sync,
        folder=Path.cwd(),
        api_keys=api_keys,
        local_only=api_keys is None,
        limits=read_limits(key_file) if key_file else None,
        meter=Meter(),
    )
    kind = ", a toy learner," if entry.type == "sandbox" else ""

    def ready() -> None:
        if log_json:
            log.info("serving", extra={"facts": {"engine": engine, "root": str(root), "url": base_url(listener)}})
        else:
            _console.talk(f"Serving the {engine} engine{kind} from `{root}`. Ctrl-C stops.")
        _console.out(base_url(listener))

    serve(app, listener, ready=ready)


def _entry(engine: str, spec: str | None, models: tuple[str, ...]) -> EngineEntry:
    """Return the engine entry to serve: of the spec, or one made of the options."""
    from msgspec.structs import replace

    from ftspec.experiment import EngineEntry

    entry = EngineEntry(name=engine, type=engine, scope=engine)
    if spec is not None:
        from ftspec.pipeline.public import load

        declared = load((spec,)).spec.engines
        if engine not in declared:
            msg = f"`{spec}` declares no engine `{engine}`"
            raise FtspecError(msg, help=f"declared: {', '.join(sorted(declared))}")
        entry = declared[engine]
    if models:
        pairs = [model.partition("=") for model in models]
        if not all(name and folder for name, _, folder in pairs):
            msg = "expected NAME=FOLDER"
            raise click.BadParameter(msg, param_hint="--model")
        named = {name: str(Path(folder).resolve()) for name, _, folder in pairs}
        entry = replace(entry, options={**entry.options, "models": {**entry.options.get("models", {}), **named}})
    return entry


def _keys(variable: str | None, file: Path | None, *, no_auth: bool, loopback: bool) -> dict[str, str] | None:
    """Return who may ask (`None`: everybody on this machine)."""
    from ftspec.server.serving import checked_keys, read_keys

    given = [option for option, value in (("--api-key-env", variable), ("--key-file", file), ("--no-auth", no_auth)) if value]
    if len(given) != 1:
        msg = "nobody said who may ask" if not given else f"{' and '.join(f'`{option}`' for option in given)} exclude each other"
        raise Unlocked(msg, help="give `--api-key-env NAME` or `--key-file FILE`, or `--no-auth` on this machine")
    if file is not None:
        return read_keys(file)
    if variable is not None:
        key = os.environ.get(variable, "").strip()
        if not key:
            msg = f"the variable `{variable}` holds no key"
            raise Unlocked(msg, help=f"`export {variable}=...` before `ftspec serve`")
        return checked_keys({key: "default"})
    if not loopback:
        msg = "`--no-auth` is for loopback addresses only"
        raise Unlocked(msg, help="give `--api-key-env NAME` or `--key-file FILE`")
    return None
