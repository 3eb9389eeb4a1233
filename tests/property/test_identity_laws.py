"""Laws of keys: canonical bytes, and what does and does not change the identity of a job."""

from __future__ import annotations

import hashlib
import json
import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftspec.actions import DatasetFacts
from ftspec.experiment import DesiredJob
from ftspec.fingerprint import EvalKeys, canonical_json, digest, eval_preimage, job_key, job_preimage
from ftspec.planner.identify import identify

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(codec="utf-8"))
)
names = st.text(st.characters(codec="utf-8"), max_size=6)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12)
digests = st.integers(0, 2**64).map(lambda n: hashlib.sha256(str(n).encode()).hexdigest())
numbers = st.integers(1, 10) | st.floats(1e-9, 1e3) | st.just("auto")
blocks = st.dictionaries(st.sampled_from(["n_epochs", "batch_size", "beta", "learning_rate"]), numbers, max_size=3)
jobs = st.builds(
    DesiredJob,
    address=st.just("a"),
    experiment=st.just("a"),
    engine=st.just("e"),
    scope=names,
    base_model=names,
    train=st.just("d"),
    method=st.sampled_from(["supervised", "dpo", "reinforcement"]),
    validation=st.none(),
    hyperparameters=blocks,
    grader=st.none() | st.dictionaries(names, values, max_size=3),
    lora=st.dictionaries(st.sampled_from(["rank", "alpha"]), st.integers(1, 64), max_size=2),
    engine_options=st.dictionaries(names, values, max_size=2),
    seed=st.none() | st.integers(0, 2**31 - 1),
    replicate=st.none() | st.integers(1, 9) | names,
    suffix=st.none() | names,
    suffix_is_identity=st.booleans(),
)


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_floats_are_spelled_as_in_the_samples_of_rfc_8785(bits, text):
    """Appendix B of RFC 8785: doubles by their bits, and how ECMAScript spells them."""
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value).decode() == text


def test_the_example_of_rfc_8785_has_its_canonical_bytes():
    """Section 3.2: white space, escapes, numbers and the order of members."""
    value = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(value).decode() == expected


def test_members_are_sorted_by_code_point_and_integers_keep_their_digits():
    """The two documented differences from RFC 8785."""
    assert canonical_json({"\U0001f600": 1, "\ufb33": 2}).decode() == '{"\ufb33":2,"\U0001f600":1}'
    assert canonical_json(2**64 + 1) == b"18446744073709551617"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, {"a": object()}, "\ud800"])
def test_what_is_not_json_has_no_canonical_form(value):
    """A key is never made from something that cannot be written down again."""
    with pytest.raises(ValueError):
        canonical_json(value)


@settings(max_examples=150, deadline=None)
@given(values)
def test_canonical_bytes_are_json_and_a_fixed_point(value):
    """Reading them back and writing them again gives the same bytes."""
    data = canonical_json(value)
    assert canonical_json(json.loads(data)) == data
    assert canonical_json(msgspec.json.decode(data)) == data


@settings(max_examples=150, deadline=None)
@given(values)
def test_layout_and_order_of_members_do_not_change_canonical_bytes(value):
    """Indented, reversed and escaped text of one value has one digest."""

    def backwards(one):
        if isinstance(one, dict):
            return {name: backwards(one[name]) for name in reversed(list(one))}
        return [backwards(item) for item in one] if isinstance(one, list) else one

    text = json.dumps(backwards(value), indent=3, ensure_ascii=True)
    assert digest(json.loads(text)) == digest(value)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(jobs, digests, st.none() | digests, st.none() | digests), min_size=1, max_size=5))
def test_fast_keys_are_digests_of_preimages(cases):
    """`job_key` writes the same bytes as `job_preimage`, also with a memo that other jobs filled."""
    memo: dict = {}
    for job, train, validation, parent in cases:
        image = job_preimage(job, train=train, validation=validation, parent=parent)
        assert job_key(job, train=train, validation=validation, parent=parent, memo=memo) == digest(image)


@settings(max_examples=60, deadline=None)
@given(digests, values, st.dictionaries(names, values, max_size=3), st.integers(1, 5), st.dictionaries(names, values, max_size=2))
def test_fast_eval_keys_are_digests_of_preimages(dataset, prompt, sampling, repeat, model):
    """`EvalKeys` writes everything but the model once, and nothing differently."""
    keys = EvalKeys(dataset=dataset, prompt=prompt, sampling=sampling, graders={"g": sampling}, repeat=repeat)
    image = eval_preimage(model=model, dataset=dataset, prompt=prompt, sampling=sampling, graders={"g": sampling}, repeat=repeat)
    assert keys.key(model) == digest(image) == digest(keys.preimage(model))


def key_of(job):
    """Return the key of one job on its own."""
    refs = {ref: DatasetFacts(ref=ref, key=digest(ref), rows=1, bytes=1, format="chat") for ref in ("d", "d2", "v", "v2")}
    (one,), problems = identify([job], refs)
    assert problems == []
    return one.key


REPLACED = {
    "scope": "elsewhere",
    "base_model": "another",
    "method": "dpo",
    "train": "d2",
    "validation": "v2",
    "hyperparameters": {"n_epochs": 77},
    "grader": {"type": "other"},
    "lora": {"rank": 65},
    "engine_options": {"x": [1]},
    "seed": 2**31,
    "replicate": "r77",
}


@pytest.mark.parametrize("field", sorted(REPLACED))
@settings(max_examples=15, deadline=None)
@given(job=jobs.map(lambda job: msgspec.structs.replace(job, method="supervised")))
def test_every_training_field_changes_the_key(field, job):
    """Whatever decides the result, or where it is bought, is part of the identity."""
    assert key_of(msgspec.structs.replace(job, **{field: REPLACED[field]})) != key_of(job)


@settings(max_examples=80, deadline=None)
@given(
    jobs,
    st.fixed_dictionaries(
        {},
        optional={
            "address": names,
            "experiment": names,
            "engine": names,
            "tags": st.dictionaries(names, names, max_size=2),
            "evals": st.lists(names, max_size=2).map(tuple),
            "depends_on": st.lists(names.map("elsewhere/".__add__), max_size=2).map(tuple),
            "axes": st.dictionaries(names, st.integers(), max_size=2),
            "preset": names,
            "integrations": st.just(({"type": "wandb"},)),
        },
    ),
)
def test_names_labels_and_places_never_change_the_key(job, labels):
    """Renaming, moving, tagging and evaluating differently buys nothing."""
    assert key_of(msgspec.structs.replace(job, **labels)) == key_of(job)


@given(jobs, names)
@settings(max_examples=60, deadline=None)
def test_a_suffix_is_part_of_the_key_only_where_the_spec_says_so(job, suffix):
    """`identity: {suffix: true}` makes the label a setting."""
    renamed = msgspec.structs.replace(job, suffix=suffix)
    assert (key_of(renamed) == key_of(job)) is (not job.suffix_is_identity or suffix == job.suffix)


def test_the_recipe_of_keys_is_stable():
    """A golden key: if this changes, everybody's models would be bought again."""
    job = DesiredJob(
        address="tone/seed=1",
        experiment="tone",
        engine="sandbox",
        scope="sandbox",
        base_model="sandbox-small",
        train="d",
        validation="v",
        hyperparameters={"n_epochs": 3, "learning_rate_multiplier": 1e-5},
        seed=1,
    )
    assert canonical_json(job_preimage(job, train="00", validation="11", parent=None)).decode() == (
        '{"base_model":"sandbox-small","hyperparameters":{"learning_rate_multiplier":0.00001,"n_epochs":3},"method":"supervised",'
        '"recipe":1,"scope":"sandbox","seed":1,"train":"00","validation":"11"}'
    )
    assert key_of(job) == "6ecb0ef6a9921557834ec7b2414ba7e684bda36ed3d4316d2cd2e5520117494d"
