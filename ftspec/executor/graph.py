"""The jobs of a plan and how they hang together, as the walk sees them.

A node is the only thing that changes during a walk. Its phase moves forward; where a quota makes
the engine refuse a launch it goes back to `queued`, because nothing was bought.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ftspec.actions import AdoptJob, KeepJob, LaunchJob, Reason, WaitJob
from ftspec.executor.watch import newest_bought
from ftspec.record import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ftspec.actions import Action
    from ftspec.experiment import DesiredJob
    from ftspec.record import JobError, RecordedJob, State


class Phase(enum.Enum):
    """Where a job is in this walk."""

    BLOCKED = enum.auto()
    """A parent has not succeeded yet."""
    READY = enum.auto()
    """Its files may be on their way; it can be launched as soon as they are there."""
    QUEUED = enum.auto()
    """Waits for a slot of its engine and for a free hand."""
    BUYING = enum.auto()
    UNSETTLED = enum.auto()
    """Its request was sent, the outcome is not known yet."""
    RUNNING = enum.auto()
    SUCCEEDED = enum.auto()
    FAILED = enum.auto()
    SKIPPED = enum.auto()
    IN_DOUBT = enum.auto()


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """One job of the plan."""

    job: DesiredJob
    key: str
    phase: Phase
    action: LaunchJob | AdoptJob | KeepJob | WaitJob
    record: RecordedJob | None = None
    attempt: int = 1
    """The number that the next launch gets in the record."""
    nth: int = 1
    """Which job of its key the next launch asks the engine for."""
    model: str | None = None
    parent_model: str | None = None
    """The model of a parent that is not part of the plan."""
    engine_job_id: str | None = None
    files: int = 0
    """How many of its files are not there yet."""
    parents: set[str] = field(default_factory=set)
    """Addresses that have not succeeded yet."""
    children: list[Node] = field(default_factory=list)
    because: str | None = None
    error: JobError | None = None
    launched: bool = False
    adopted: bool = False
    ended: bool = False
    """Whether it succeeded during this walk."""

    @property
    def address(self) -> str:
        """The job's address."""
        return self.job.address


def graph_of(actions: Iterable[Action], state: State) -> dict[str, Node]:
    """Return the nodes of a plan by address, in the plan's order, with parents and children joined."""
    nodes = {node.address: node for action in actions if (node := _node(action, state)) is not None}
    elsewhere: dict[str, RecordedJob] | None = None
    for node in nodes.values():
        if node.phase is not Phase.BLOCKED:
            continue
        for address in node.job.parents:
            parent = nodes.get(address)
            if parent is not None:
                parent.children.append(node)
                if parent.phase is not Phase.SUCCEEDED:
                    node.parents.add(address)
                continue
            if elsewhere is None:
                elsewhere = {record.address: record for record in state.jobs.values() if record.model and not record.forgotten}
            if address not in elsewhere:
                node.phase, node.because = Phase.SKIPPED, address
            elif address == node.job.parent:
                node.parent_model = elsewhere[address].model
        if node.phase is Phase.BLOCKED and not node.parents:
            node.phase = Phase.READY
    return nodes


def base_model(node: Node, nodes: Mapping[str, Node]) -> str:
    """Return the model that a job is trained on: its base model, or that of its parent."""
    parent = node.job.parent
    if parent is None:
        return node.job.base_model
    model = nodes[parent].model if parent in nodes else node.parent_model
    assert model is not None  # noqa: S101 it is not launched before its parent has one
    return model


def _node(action: Action, state: State) -> Node | None:
    match action:
        case LaunchJob():
            return _launch(action, state.jobs.get(action.key))
        case AdoptJob():
            record = state.jobs.get(action.key)
            attempt = 1 if record is None else record.last.number + (not record.in_doubt)
            return Node(job=action.job, key=action.key, phase=Phase.UNSETTLED, action=action, record=record, attempt=attempt)
        case KeepJob():
            return _kept(action)
        case WaitJob(reason=Reason.IN_DOUBT):
            return Node(job=action.job, key=action.key, phase=Phase.UNSETTLED, action=action, record=action.record)
        case WaitJob():
            because = action.because or action.reason.value
            return Node(job=action.job, key=action.key, phase=Phase.SKIPPED, action=action, record=action.record, because=because)
        case _:
            return None


def _launch(action: LaunchJob, record: RecordedJob | None) -> Node:
    """Return a job to be bought, unless state knows of a launch that the plan did not."""
    node = Node(job=action.job, key=action.key, phase=Phase.BLOCKED, action=action, record=record, attempt=action.attempt)
    if record is not None:
        node.nth = 1 + sum(attempt.status.bought for attempt in record.attempts)
        if record.doubtful and not record.forgotten:
            node.phase = Phase.UNSETTLED
        elif action.attempt != record.last.number + 1:
            node.phase, node.because = Phase.SKIPPED, "state has changed since the plan was made"
    return node


def _kept(action: KeepJob) -> Node:
    record = action.record
    last = newest_bought(record) or record.last
    done = Phase.SUCCEEDED if record.model is not None else Phase.RUNNING
    phase = {JobStatus.SUCCEEDED: done, JobStatus.FAILED: Phase.SKIPPED, JobStatus.CANCELLED: Phase.SKIPPED}
    return Node(
        job=action.job,
        key=action.key,
        phase=phase.get(last.status, Phase.RUNNING),
        action=action,
        record=record,
        model=record.model,
        engine_job_id=last.engine_job_id,
        because=f"it {last.status.value} before and is not tried again by itself",
    )
