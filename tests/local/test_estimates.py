"""What a plan says about the time and memory of local jobs."""

import pytest

from ftspec.server.trainers.local.resources import Shape, Work, estimate, memory_text, seconds_text

EIGHT = Shape(parameters=8_000_000_000, hidden=4096, layers=32, vocabulary=128_000)
ONE = Shape(parameters=1_200_000_000, hidden=2048, layers=16, vocabulary=128_000)
WORK = Work(tokens=1e6, row_tokens=512, device="cuda")


def test_more_of_anything_takes_more():
    """Time grows with tokens and size, memory with size, rows at once and full training; DPO costs more than supervised."""
    base = estimate(WORK, base="b", shape=ONE)
    for more in (
        estimate(WORK, base="b", shape=EIGHT),
        estimate(Work(tokens=3e6, row_tokens=2048, device="cuda"), base="b", shape=ONE),
        estimate(Work(tokens=1e6, row_tokens=512, device="cuda", full=True), base="b", shape=ONE),
        estimate(Work(tokens=1e6, row_tokens=512, device="cuda", method="dpo"), base="b", shape=ONE),
    ):
        assert more.seconds[0] > base.seconds[0]
        assert more.seconds[1] > base.seconds[1]
        assert more.memory > base.memory
    assert base.seconds[0] < base.seconds[1]
    assert base.measured == 0


def test_known_sizes_need_what_is_known_of_them():
    """An 8B base needs its 16 GB of weights for LoRA, and eight times as much for full training."""
    low, high = estimate(WORK, base="b", shape=EIGHT).memory
    assert low < 24e9 < high * 1.2
    low, high = estimate(Work(tokens=1e6, row_tokens=512, device="cuda", full=True), base="b", shape=EIGHT).memory
    assert low < 128e9 * 1.1 < high


def test_measured_jobs_of_the_same_kind_are_believed():
    """Only the same base, method, kind and device count; the range narrows to the measured speed give or take a third."""
    alike = {"base": "b", "method": "supervised", "full": False, "device": "cuda", "seconds": 10, "tokens": 100_000, "memory": 20e9}
    others = [{**alike, **other} for other in ({"base": "c"}, {"method": "dpo"}, {"full": True}, {"device": "cpu"}, {"seconds": 0})]
    found = estimate(WORK, base="b", shape=EIGHT, measured=[alike, *others, {}])
    assert found.measured == 1
    assert found.seconds[0] < 100 + 15 < found.seconds[1] < 250
    assert found.memory[0] < 20e9 < found.memory[1]
    assert estimate(WORK, base="b", shape=None, measured=others) is None


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.2, 61, "1 s to 61 s"), (100, 100, "about 2 min"), (200, 7000, "3 min to 1.9 h"), (1e3, 9e5, "17 min to 10 days")],
)
def test_times_are_said_as_people_say_them(low, high, text):
    """Seconds, minutes, hours, days."""
    assert seconds_text(low, high) == text


def test_memory_is_said_in_gigabytes():
    """With a digit where it matters."""
    assert memory_text(0.52e9, 23.4e9) == "0.5 to 23 GB"
