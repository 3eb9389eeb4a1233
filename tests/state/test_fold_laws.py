"""The join of facts: laws that merging, retrying and compacting rely on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.record import JobStatus
from ftspec.state.base import Fact, JobFact
from ftspec.state.basefile import BASE_FILES, read_base
from ftspec.state.fold import KINDS, view
from ftspec.state.ledger import Ledger, fold
from ftspec.state.stamps import from_line, to_line

from .conftest import FACTS


def learned(facts: Iterable[Fact], ledger: Ledger | None = None) -> Ledger:
    ledger = ledger or Ledger()
    for fact in facts:
        ledger.add_fact(fact)
    return ledger


def base_of(ledger: Ledger) -> dict[str, bytes]:
    ledger.state()
    return {name: b"".join(bytes(line) + b"\n" for line in ledger.shelves[kind.name].base_lines()) for name, kind in BASE_FILES.items()}


def read(base: dict[str, bytes], ledger: Ledger | None = None, *, strict: bool = False) -> Ledger:
    ledger = ledger or Ledger()
    for name, data in base.items():
        assert read_base(ledger, BASE_FILES[name], data, place=name, strict=strict) == []
    return ledger


def shown(ledger: Ledger) -> tuple[Any, ...]:
    state = ledger.state()
    return state.jobs, state.files, state.evals


@given(FACTS, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_the_order_of_facts_does_not_matter(facts, random):
    """The same facts make the same state and the same bytes in every order."""
    shuffled = list(facts)
    random.shuffle(shuffled)
    assert shown(learned(facts)) == shown(learned(shuffled))
    assert base_of(learned(facts)) == base_of(learned(shuffled))


@given(FACTS, st.data())
@settings(max_examples=100)
def test_a_fact_seen_twice_changes_nothing(facts, data):
    """Repeating facts, as union merges do, leaves state as it is."""
    again = data.draw(st.lists(st.sampled_from(facts), max_size=5)) if facts else []
    assert base_of(learned([*facts, *again])) == base_of(learned(facts))


@given(FACTS, FACTS, st.booleans(), st.booleans())
@settings(max_examples=250)
def test_compaction_in_the_middle_loses_nothing(before, after, strict, facts_first):
    """Facts that were compacted and facts that come later, from anywhere, make what all facts make together."""
    base = base_of(learned(before))
    ledger = read(base, learned(after), strict=strict) if facts_first else learned(after, read(base, strict=strict))
    whole = learned([*before, *after])
    assert base_of(ledger) == base_of(whole)
    assert shown(ledger) == shown(whole)


@given(FACTS, FACTS, FACTS)
@settings(max_examples=100)
def test_two_compactions_of_a_common_past_join(past, ours, theirs):
    """Base files of two branches, with both versions of a line kept, make what all facts make together."""
    old = base_of(learned(past))
    left, right = base_of(learned(ours, read(old))), base_of(learned(theirs, read(old)))
    union = {name: left[name] + right[name] for name in left}
    assert base_of(read(union)) == base_of(learned([*past, *ours, *theirs]))


@given(FACTS)
@settings(max_examples=150)
def test_a_base_line_holds_all_cells(facts):
    """A record read back from its line knows as much as before, shown or not."""
    ledger = learned(facts)
    for shelf in ledger.shelves.values():
        for identity, cells in shelf.cells.items():
            line = msgspec.json.decode(msgspec.json.encode(to_line(shelf.kind, identity, cells)))
            again = from_line(KINDS[shelf.kind.name], line)
            assert view(shelf.kind, again) == view(shelf.kind, cells)
            assert {group: known for group, known in again.items() if known} == {group: known for group, known in cells.items() if known}


@given(FACTS)
@settings(max_examples=100)
def test_a_base_file_reads_as_the_records_it_was_written_from(facts):
    """Records decoded fast equal the records that were joined, member by member."""
    ledger = learned(facts)
    assert shown(read(base_of(ledger))) == shown(ledger)


@given(FACTS)
@settings(max_examples=60)
def test_folding_records_gives_the_same_records(facts):
    """A state folded again from its own records is the same state."""
    state = fold(facts)
    again = fold(base=[*state.jobs.values(), *state.evals.values()])
    assert again.jobs == state.jobs
    assert again.evals == state.evals


@given(FACTS)
@settings(max_examples=250)
def test_a_launch_is_open_until_a_fact_of_its_own_says_what_became_of_it(facts):
    """Jobs, refusals and absences of other launches of the same attempt settle nothing, in whatever order they are learned."""
    begun, settled = set(), set()
    for fact in facts:
        if isinstance(fact, JobFact) and fact.attempt and fact.values.get("launch"):
            outcome = fact.values.get("engine_job_id") or fact.values.get("status") not in {None, "intent"}
            (settled if outcome else begun).add((fact.key, fact.attempt, fact.values["launch"]))
    for record in fold(facts).jobs.values():
        shown = {(record.key, one.attempt, one.launch) for one in record.open}
        assert shown == {one for one in begun - settled if one[0] == record.key}
        for attempt in record.attempts:
            if attempt.engine_job_id is None and any(one.attempt == attempt.number for one in record.open):
                assert attempt.status is JobStatus.INTENT
