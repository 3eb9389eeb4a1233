"""What a plan says about the time and memory of local jobs."""

import json
import re

import pytest

from ftspec.server.trainers.local.resources import Shape, Work, estimate, memory_text, seconds_text

EIGHT = Shape(parameters=8_000_000_000, hidden=4096, layers=32, vocabulary=128_000)
ONE = Shape(parameters=1_200_000_000, hidden=2048, layers=16, vocabulary=128_000)
WORK = Work(tokens=(1e6, 1e6), row_tokens=512, device="cuda")


def test_more_of_anything_takes_more():
    """Time grows with tokens and size, memory with size, rows at once and full training; DPO costs more than supervised."""
    base = estimate(WORK, base="b", shape=ONE)
    for more in (
        estimate(WORK, base="b", shape=EIGHT),
        estimate(Work(tokens=(3e6, 3e6), row_tokens=2048, device="cuda"), base="b", shape=ONE),
        estimate(Work(tokens=(1e6, 1e6), row_tokens=512, device="cuda", full=True), base="b", shape=ONE),
        estimate(Work(tokens=(1e6, 1e6), row_tokens=512, device="cuda", method="dpo"), base="b", shape=ONE),
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
    low, high = estimate(Work(tokens=(1e6, 1e6), row_tokens=512, device="cuda", full=True), base="b", shape=EIGHT).memory
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


def test_a_plan_says_what_local_jobs_take_and_how_sure_it_is(tmp_path):
    """Calculated from the headers of a base in the project, then measured; a base elsewhere is not looked at."""
    from ftspec.pipeline.local_estimates import local_estimates
    from ftspec.pipeline.public import plan

    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 800}))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}")
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": [100, 1000], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    asked, answer = [{"role": "user", "content": f"where is parcel {n}"} for n in range(20)], {"role": "assistant", "content": "shipping"}
    chats = "".join(json.dumps({"messages": [one, answer]}) + "\n" for one in asked)
    (tmp_path / "t.jsonl").write_text(chats)
    spec = """
ftspec: 1
engines: {local: {type: local, models: {small: models/small}}}
datasets: {t: {path: t.jsonl, split: {train: 0.8, validation: 0.2}}}
experiments: {a: {engine: local, base_model: small, train: t.train, validation: t.validation, matrix: {seed: [1, 2]}}}
"""
    (tmp_path / "ftspec.yaml").write_text(spec)
    (line,) = local_estimates(plan(root=tmp_path))
    assert re.match(r"local: 2 jobs of `small`: the longest 5 s to \d+ s, all 10 s to \d+ s, [\d.]+ to [\d.]+ GB ", line)
    assert line.endswith("GB (calculated for a CPU; `ftspec calibrate small` measures this machine)")
    measured = {"base": "small", "method": "supervised", "full": False, "device": "cpu", "seconds": 1, "tokens": 100, "memory": 1e9}
    (tmp_path / ".ftspec" / "local").mkdir(parents=True)
    (tmp_path / ".ftspec" / "local" / "measured.jsonl").write_text(json.dumps(measured) + "\ntorn")
    (line,) = local_estimates(plan(root=tmp_path))
    assert line.endswith("0.8 to 1.3 GB (from 1 measured job)")
    grader = "{type: string_check, operation: eq, input: '{{sample.output_text}}', reference: '{{item.wanted}}'}"
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"messages": [one], "wanted": "shipping"}) + "\n" for one in asked))
    reinforced = f"method: {{type: reinforcement, grader: {grader}}}, epochs: 2, matrix"
    (tmp_path / "ftspec.yaml").write_text(spec.replace("matrix", reinforced))
    (line,) = local_estimates(plan(root=tmp_path))
    assert re.match(r"local: 2 reinforcement jobs of `small`: the longest \d+ s to \d+ s, ", line)
    assert line.endswith("(calculated for a CPU; the first one measures it)")
    (tmp_path / "ftspec.yaml").write_text(spec.replace("models/small", "../elsewhere").replace("matrix", reinforced))
    assert local_estimates(plan(root=tmp_path))[0].endswith("are not known before one ran")
    measured |= {"method": "reinforcement", "tokens": 1000}
    (tmp_path / ".ftspec" / "local" / "measured.jsonl").write_text(json.dumps(measured))
    low, high = map(int, re.search(r"the longest (\d+) s to (\d+) min", local_estimates(plan(root=tmp_path))[0]).groups())
    assert 5 < low < 16 * 2 * 8 * 17 / 1000 + 5 < 16 * 2 * 8 * (256 + 5) / 1000 < high * 60
    (tmp_path / "t.jsonl").write_text(chats)
    (tmp_path / "ftspec.yaml").write_text(spec.replace("models/small", "../elsewhere"))
    (tmp_path / ".ftspec" / "local" / "measured.jsonl").unlink()
    assert "not known before one ran" in local_estimates(plan(root=tmp_path))[0]
