"""A real Slurm on this machine, two nodes, proves the executor: Debian's `slurmctld slurmd slurm-client munge`, run as root.

It has its own keys, ports and folders. On a machine that belongs to a cluster it is started only
where somebody asks for it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftspec.server.trainers.local.claims import started
from ftspec.server.trainers.local.executors import Submission
from ftspec.server.trainers.local.executors.slurm import SlurmExecutor
from ftspec.server.trainers.local.settings import Settings
from ftspec.server.trainers.run_folder import Result
from ftspec.testing.executors import Drive, ExecutorConformance
from ftspec.testing.toy_worker import TOY, value_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]

_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """The daemons of one small cluster; each can be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        self.daemons = {}
        host = socket.gethostname()
        control, *nodes = free_ports(3)
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        for name in ("state", "spool-n1", "spool-n2"):
            (folder / name).mkdir()
        lines = [
            "ClusterName=test",
            f"SlurmctldHost={host}(127.0.0.1)",
            "SlurmUser=root",
            f"SlurmctldPort={control}",
            f"AuthInfo=socket={folder}/munge.socket",
            f"StateSaveLocation={folder}/state",
            f"SlurmdSpoolDir={folder}/spool-%n",
            f"SlurmctldPidFile={folder}/slurmctld.pid",
            f"SlurmdPidFile={folder}/slurmd-%n.pid",
            f"SlurmctldLogFile={folder}/slurmctld.log",
            f"SlurmdLogFile={folder}/slurmd-%n.log",
            "ProctrackType=proctrack/pgid",
            "TaskPlugin=task/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core",
            "SlurmdParameters=config_overrides",
            "MpiDefault=none",
            "ReturnToService=2",
            "SlurmdTimeout=4",
            "MessageTimeout=4",
            "KillWait=2",
            "MinJobAge=60",
            "SchedulerParameters=sched_min_interval=0",
            *[
                f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 State=UNKNOWN"
                for number, port in enumerate(nodes, start=1)
            ],
            "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        ]
        self.conf = folder / "slurm.conf"
        self.conf.write_text("\n".join(lines) + "\n")
        self.environment = {**os.environ, "PATH": _PATH, "SLURM_CONF": str(self.conf)}

    def start(self, name, *words):
        self.daemons[name] = subprocess.Popen(
            words, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def start_all(self):
        folder = self.folder
        (folder / "munge.socket").unlink(missing_ok=True)
        self.start(
            "munged", "munged", "--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        self.wait(lambda: (folder / "munge.socket").exists())
        self.start_controller()
        for node in ("n1", "n2"):
            self.start(node, "slurmd", "-D", "-N", node)
        self.wait(lambda: self.ask("sinfo", "-h", "-o", "%D %T").strip() == "2 idle")

    def start_controller(self):
        self.start("slurmctld", "slurmctld", "-D")

    def kill(self, name):
        self.daemons[name].send_signal(signal.SIGKILL)
        self.daemons.pop(name).wait()

    def ask(self, *words):
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False).stdout

    def wait(self, holds, seconds=90):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.logs()
            time.sleep(0.2)

    def logs(self):
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in self.folder.glob("*.log"))

    def stop(self):
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(timeout=15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for path in Path("/proc").glob("[0-9]*/comm"):  # those whose node was killed wait for it for ever
            try:
                if path.read_text().startswith("slurmstepd") and str(self.conf).encode() in path.with_name("environ").read_bytes():
                    os.kill(int(path.parent.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    belongs = "SLURM_CONF" in os.environ or Path("/etc/slurm/slurm.conf").exists()
    if belongs and os.environ.get("FTSPEC_TEST_SLURM") != "1":
        pytest.skip("this machine belongs to a Slurm cluster: FTSPEC_TEST_SLURM=1 starts another one of two nodes for these tests")
    missing = [name for name in _NEEDED if shutil.which(name, path=_PATH) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} are not installed")
    if os.geteuid() != 0:
        pytest.skip("a test cluster of Slurm needs root")
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    cluster.start_all()
    yield cluster
    cluster.stop()


@pytest.fixture
def slurm(cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    return cluster


class TestSlurm(ExecutorConformance):
    """The drive, on two nodes."""

    @pytest.fixture
    def settings(self, slurm):
        return Settings(executor="slurm", gpus=0, cpus=1)


def reached(run):
    return (run.resume_folder() or (0,))[0]


def test_a_controller_that_dies_loses_and_doubles_nothing(slurm, tmp_path):
    """While nobody answers, jobs count as running and new ones wait; each ends once, whatever the controller remembers."""
    drive = Drive(tmp_path, Settings(executor="slurm", gpus=0, cpus=1), 120)
    run = drive.job("a", steps=60)
    drive.until(lambda: reached(run) >= 2)
    slurm.kill("slurmctld")
    drive.executor._listed = None
    assert drive.executor.poll(run.handle()["handle"]) == "running"
    late = drive.job("b", steps=2)
    assert [said.message.partition(":")[0] for said in late.events()] == ["The job cannot be submitted yet"]
    slurm.start_controller()
    drive.until(lambda: run.result() and late.result())
    assert (run.path / "value").read_text() == value_of(60)
    assert late.newest_attempt() == 1


def test_a_driver_that_died_while_it_submitted_finds_its_job(slurm, tmp_path):
    """The job is at Slurm and nobody wrote down where: it is found by its name."""
    drive = Drive(tmp_path, Settings(executor="slurm", gpus=0, cpus=1), 60)
    run = drive.folder("a", steps=20)
    run.set_handle({"submission": 1, "lost": 0, "ended": 0, "handle": None, "slot": 0})
    command = (sys.executable, "-m", TOY, str(run.path), "1")
    placed = drive.executor.submit(Submission(run=run.path, number=1, command=command), slot=0)
    drive.reconciler.open(run.path.name)
    drive.until(run.result)
    assert run.handle()["handle"] == placed
    assert (run.newest_attempt(), run.handle()["lost"]) == (1, 0)


@pytest.mark.parametrize("worker_too", [True, False])
def test_a_node_that_dies_is_left_for_another(slurm, tmp_path, worker_too):
    """The job goes on from its last step on the other node; a worker that survived its node's daemon leaves once it notices."""
    drive = Drive(tmp_path, Settings(executor="slurm", gpus=0, cpus=2), 180)
    run = drive.job("a", steps=100 if worker_too else 2000)
    drive.until(lambda: reached(run) >= 2)
    node = slurm.ask("squeue", "-h", "-o", "%N", "-j", run.handle()["handle"]["job"]).strip()
    if worker_too:
        drive.kill(run)
    slurm.kill(node)
    try:
        drive.until(lambda: run.newest_attempt() == 2)
        second = json.loads((run.path / "attempts" / "0002").read_text())["pid"]
        if worker_too:
            drive.until(run.result)
            assert (run.path / "value").read_text() == value_of(100)
        else:
            first = json.loads((run.path / "attempts" / "0001").read_text())["pid"]
            drive.until(lambda: started(first) is None)
            assert started(second) is not None
            assert run.newest_attempt() == 2
            run.finish(Result(status="cancelled", finished_at=0))
            drive.until(lambda: not drive.open_jobs())
    finally:
        slurm.start(node, "slurmd", "-D", "-N", node)
        slurm.wait(lambda: slurm.ask("sinfo", "-h", "-o", "%D %T").strip() == "2 idle")


def test_settings_become_arguments(tmp_path):
    """Partition, account, memory, time and more reach `sbatch`; trying again stays ours."""
    settings = Settings(
        executor="slurm", memory_gb=1.5, time_limit=30, slurm={"partition": "gpu", "account": "a", "arguments": ["--nice=5"]}
    )
    words = SlurmExecutor(settings)._arguments(Submission(run=tmp_path, number=1, command=("x",), cpus=4, gpus=1))
    assert {
        "--no-requeue",
        "--partition=gpu",
        "--account=a",
        "--mem=1536M",
        "--time=30",
        "--nice=5",
        "--gpus=1",
        "--cpus-per-task=4",
    } <= set(words)
