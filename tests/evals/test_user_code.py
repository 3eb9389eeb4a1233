"""User code runs by permission, in its own process, behind the strongest wall there is."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from ftspec.diagnostics import FtspecError
from ftspec.evals import isolation
from ftspec.evals.base import GraderStopped, check_definition
from ftspec.evals.code import Code, CodeError, inlined
from ftspec.evals.grading import SyncGrader, SyncGraders, grade_sync, sample_of
from ftspec.evals.isolation import CodeProcess, choose_wall

WALLS = [wall for wall in isolation.WALLS if isolation._works(wall)]


def run(source: str, *arguments: object, wall: isolation.Wall = "process", seconds: float = 20, function: str = "f") -> object:
    process = CodeProcess(Code(source, function), wall=wall, seconds=seconds)
    try:
        return process.call(*arguments)
    finally:
        process.close()


@pytest.mark.parametrize("wall", WALLS)
def test_code_is_called_and_returns_a_number(wall: isolation.Wall) -> None:
    """Behind every wall that works here."""
    assert run("def f(a, b):\n    return len(a) / len(b)", "ab", "abcd", wall=wall) == 0.5
    assert run("def f():\n    return True", wall=wall) is True


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no')", r"ValueError: no \(line 2\)"),
        ("return 'text'", "must return a finite number or a bool, not str"),
        ("return float('nan')", "must return a finite number"),
        ("return None", "not NoneType"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(3)", "the code ended its process"),
        ("return f()", "RecursionError"),
        ("return len([0] * 10**10)", "MemoryError"),
        ("file = open('out', 'w'); file.write('x'); file.flush()", "OSError"),
    ],
)
def test_code_that_fails_says_how(body: str, message: str) -> None:
    """Exceptions, wrong results, exits, limits: an error for this sample, with its line."""
    with pytest.raises(CodeError, match=message):
        run(f"def f():\n    {body}")


def test_the_process_lives_on_after_an_exception_and_is_replaced_after_a_death() -> None:
    """One bad sample does not spoil the next."""
    process = CodeProcess(Code("import os\ndef f(x):\n    return os._exit(1) if x else 1 / (x + 1)", "f"), wall="process")
    try:
        assert process.call(0) == 1
        with pytest.raises(CodeError, match="ended its process"):
            process.call(1)
        assert process.call(0) == 1
    finally:
        process.close()


def test_code_that_takes_too_long_is_stopped() -> None:
    """A wall clock for each call."""
    with pytest.raises(CodeError, match=r"longer than 0\.5 s"):
        run("def f():\n    while True: pass", seconds=0.5)


def test_what_code_prints_is_not_its_answer() -> None:
    """stdout and stderr of the code go nowhere."""
    assert run("import sys\ndef f():\n    print('{\"value\": 9}')\n    sys.stderr.write('x')\n    return 1") == 1


@pytest.mark.parametrize("wall", WALLS)
def test_code_has_no_network_and_no_other_programs(wall: isolation.Wall) -> None:
    """Sockets and subprocesses are refused, inside the interpreter and by the wall."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(CodeError, match="PermissionError"):
            run(f"import socket\ndef f():\n    socket.create_connection(('127.0.0.1', {port}), 1)\n    return 1", wall=wall)
    with pytest.raises(CodeError, match="PermissionError"):
        run("import os\ndef f():\n    return os.system('true')", wall=wall)


@pytest.mark.parametrize("wall", WALLS)
def test_code_sees_no_environment(wall: isolation.Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in variables are not there."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert run("import os\ndef f():\n    return 'OPENAI_API_KEY' in os.environ", wall=wall) is False


@pytest.mark.skipif("namespace" not in WALLS, reason="user namespaces are not allowed here")
def test_the_namespace_has_no_network_even_for_code_that_gets_round_the_hook() -> None:
    """The kernel refuses: there is no interface but a loopback that is down."""
    source = "import ctypes\ndef f(port):\n    c = ctypes.CDLL(None)\n    fd = c.socket(2, 1, 0)\n    import struct\n"
    source += "    address = struct.pack('=HHI8x', 2, ((port & 255) << 8) | port >> 8, 0x0100007f)\n    return c.connect(fd, address, 16)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert run(source, port, wall="namespace") == -1
        assert run(source, port, wall="process") == 0


@pytest.mark.skipif("bubblewrap" not in WALLS, reason="bubblewrap does not work here")
def test_bubblewrap_shows_neither_project_nor_home(tmp_path: Path) -> None:
    """Only the Python installation is there, read-only."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    assert run(f"import os\ndef f():\n    return os.path.exists({str(secret)!r})", wall="bubblewrap") is False
    assert run("import os\ndef f():\n    return len(os.listdir('/proc')) < 100 and os.getpid() < 10", wall="bubblewrap") is True
    assert run("import os, sys\ndef f():\n    return os.access(sys.prefix, os.W_OK)", wall="bubblewrap") is False


def test_a_demanded_wall_that_does_not_work_is_refused_not_weakened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolation that was demanded is never degraded."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    isolation._works.cache_clear()
    try:
        with pytest.raises(GraderStopped, match="demands `isolation: bubblewrap`, which does not work"):
            choose_wall("bubblewrap")
        assert choose_wall() == "process"
    finally:
        isolation._works.cache_clear()


def test_an_unknown_wall_is_refused() -> None:
    """A typo does not weaken anything."""
    with pytest.raises(GraderStopped, match="`bubblewarp` is not an isolation"):
        choose_wall("bubblewarp")


def test_a_wall_whose_program_fails_does_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Containers that forbid namespaces have the program and not the permission."""
    for name in ("bwrap", "unshare"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
    isolation._works.cache_clear()
    try:
        assert choose_wall() == "process"
    finally:
        isolation._works.cache_clear()


def test_a_wall_that_cannot_even_be_tried_does_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A program that is none, in fact."""
    (tmp_path / "bwrap").write_text("not a program")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    isolation._works.cache_clear()
    try:
        assert choose_wall() == "process"
    finally:
        isolation._works.cache_clear()


def test_an_answer_that_is_too_long_is_refused() -> None:
    """Code cannot fill our memory by writing into its answers."""
    source = "import os\ndef f():\n    [os.write(fd, b'x' * 70000) for fd in range(3, 10) if os.path.exists(f'/proc/self/fd/{fd}')]\n    return 1"
    with pytest.raises(CodeError, match=r"answered too much|OSError"):
        run(source)


def test_many_threads_share_one_process() -> None:
    """Calls take turns and get their own answers."""
    process = CodeProcess(Code("def f(x):\n    return x", "f"), wall="process")
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda i=i: found.extend(process.call(i * 100 + j) == i * 100 + j for j in range(20))) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    process.close()
    assert found == [True] * 80


def test_the_easy_way_compares_prediction_and_target(tmp_path: Path) -> None:
    """`{type: python, path, function}`: the file is read in, the function gets two texts."""
    (tmp_path / "graders.py").write_text("def compare(prediction, target):\n    return prediction.lower() == target.lower()\n")
    definition = inlined({"type": "python", "path": "graders.py", "function": "compare"}, tmp_path)
    assert "path" not in definition
    assert check_definition("g", definition) == []
    with SyncGrader(definition, allow_code=True) as grader:
        grade = grader.grade(sample_of("PARIS"), {"reference": "Paris"})
    assert (grade.score, grade.passed) == (1.0, True)


def test_files_inside_multi_graders_are_read_in_too(tmp_path: Path) -> None:
    """A `multi` holds definitions, and theirs are resolved."""
    (tmp_path / "g.py").write_text("def f(a, b):\r\n    return 1\r\n", newline="")
    multi = inlined(
        {"type": "multi", "graders": {"a": {"type": "python", "path": "g.py", "function": "f"}}, "calculate_output": "a"}, tmp_path
    )
    assert multi["graders"]["a"]["source"] == "def f(a, b):\n    return 1\n"


@pytest.mark.parametrize(
    ("path", "message"),
    [("none.py", "cannot be read"), ("../x.py", "outside the project's root"), ("big.py", "larger than"), ("bin.py", "not UTF-8")],
)
def test_a_grader_file_that_cannot_be_read_is_an_error(tmp_path: Path, path: str, message: str) -> None:
    """Missing, outside, too large, not text."""
    (tmp_path / "big.py").write_bytes(b"#" * (1 << 20) + b"##")
    (tmp_path / "bin.py").write_bytes(b"\xff\xfe")
    with pytest.raises(FtspecError, match=message):
        inlined({"type": "python", "path": path, "function": "f"}, tmp_path)


def test_a_link_out_of_the_project_is_outside(tmp_path: Path) -> None:
    """The file that is read is the one that counts."""
    (tmp_path / "project").mkdir()
    (tmp_path / "secret.py").write_text("x = 1")
    (tmp_path / "project" / "g.py").symlink_to(tmp_path / "secret.py")
    with pytest.raises(FtspecError, match="outside the project's root"):
        inlined({"type": "python", "path": "g.py", "function": "f"}, tmp_path / "project")


def test_trainers_grade_with_the_same_definitions() -> None:
    """`grade_sync` gives a number, or a `ValueError` that says why not."""
    definition = {"type": "string_check", "operation": "eq", "input": "{{sample.output_text}}", "reference": "{{item.reference}}"}
    assert grade_sync(definition, "a", {"reference": "a"}) == 1.0
    assert grade_sync(definition, {"output_text": "b"}, {"reference": "a"}) == 0.0
    with pytest.raises(ValueError, match="could not be graded: `item` has no `reference`"):
        grade_sync(definition, "a", {})
    with pytest.raises(ValueError, match="asks a model"):
        grade_sync({"type": "score_model", "model": "m", "input": [{"role": "user", "content": "x"}]}, "a", {})
    with pytest.raises(ValueError, match="runs code of this project"):
        grade_sync({"type": "python", "source": "def grade(sample, item):\n    return 1"}, "a", {})


def test_trainers_may_be_allowed_to_run_code_and_keep_its_process() -> None:
    """Definitions and processes are kept between calls, a few at a time."""
    graders = SyncGraders(allow_code=True, keep=1)
    count = {"type": "python", "source": "n = 0\ndef grade(sample, item):\n    global n\n    n += 1\n    return n"}
    other = {"type": "python", "source": "def grade(sample, item):\n    return sample['output_json']['x']"}
    assert [graders(count, "a", {}) for _ in range(3)] == [1, 2, 3]
    assert graders(other, '{"x": 4}', {}) == 4
    assert graders(count, "a", {}) == 1
    graders.close()
