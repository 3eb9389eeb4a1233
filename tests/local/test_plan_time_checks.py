"""What a local engine cannot do is an error of the plan: with a place, before anything is uploaded, without torch."""

import json

import pytest
from click.testing import CliRunner

from ftspec.cli import group
from ftspec.diagnostics import FtspecError
from ftspec.pipeline.base_files import examine, folder_of, shape_of
from ftspec.pipeline.local_notes import local_notes
from ftspec.pipeline.project import open_project
from ftspec.pipeline.public import plan
from ftspec.server.trainers.local.resolve import most_tokens
from ftspec.server.trainers.local.settings import Base

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRICT = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAST_ONLY = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and loop.last %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% elif m.role == 'assistant' and messages[loop.index].role == 'user' and loop.index == messages|length - 1 %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
)
ASK, ANSWER, SYSTEM = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "system", "content": "s"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = [
    ASK,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "r"},
    ANSWER,
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture
def base(tmp_path):
    """Write the files of a base: `base("small", CHATML)`."""

    def write(name, template, *, config=None, weights=True, ends=("<|im_end|>",)):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 800, **(config or {})}))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": n, "content": end} for n, end in enumerate(ends)]}))
        if weights:
            header = json.dumps({"w": {"dtype": "F32", "shape": [100, 1000], "data_offsets": [0, 0]}}).encode()
            (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        return folder

    return write


@pytest.fixture
def planned(tmp_path):
    """Plan one job with given rows: the problems that are errors, as `code: message (line)`."""

    def run(rows, *, experiment="base_model: small", engine="models: {small: models/small}", more=""):
        lines = [row if isinstance(row, dict) else {"messages": row} for row in rows]
        (tmp_path / "t.jsonl").write_text("".join(json.dumps({**row}) + "\n" for row in lines))
        (tmp_path / "ftspec.yaml").write_text(
            f"ftspec: 1\nengines: {{local: {{type: local, {engine}}}}}\ndatasets: {{t: t.jsonl}}\n"
            f"experiments:\n  a: {{engine: local, train: t, {experiment}}}\n{more}"
        )
        try:
            return plan(root=tmp_path), []
        except FtspecError as stop:
            errors = [one for one in stop.diagnostics if one.severity == "error"]
            return None, [f"{one.code}: {one.message} ({one.at.path}:{one.at.line})" for one in errors]

    return run


def test_rows_that_the_template_cannot_render_are_named(base, planned):
    """Each gap is said once, with the line of the first row that needs it; rows that need nothing special are fine."""
    base("small", STRICT)
    rows = [[ASK, ANSWER], [SYSTEM, ASK, ANSWER], [ASK, ASK, ANSWER], {"messages": CALLING, "tools": TOOLS}]
    _, errors = planned(rows)
    assert errors == [
        "base-lacks: the chat template of `small` cannot render a system message (t.jsonl:2)",
        "base-lacks: the chat template of `small` cannot render two messages in a row by one role (t.jsonl:3)",
        "base-lacks: the chat template of `small` cannot render tools (t.jsonl:4)",
    ]
    assert planned([[ASK, ANSWER], [ASK, ANSWER, ASK, ANSWER]])[1] == []


def test_data_check_names_them_too(base, planned, tmp_path):
    """Who checks the data before planning sees the same rows."""
    base("small", STRICT)
    planned([[SYSTEM, ASK, ANSWER]])
    checked = CliRunner().invoke(group, ["data", "check", "-C", str(tmp_path)])
    assert checked.exit_code == 1
    assert "base-lacks" in checked.output
    assert "cannot render a system message" in checked.output


def test_rows_that_the_base_cannot_read_are_named(base, planned, tmp_path, monkeypatch):
    """Counted by the base's own tokenizer a row that is too long is an error; guessed without it, a warning; the least `max_length` counts."""
    folder = base("small", CHATML, config={"max_position_embeddings": 600})
    rows = [[ASK, ANSWER], [{"role": "user", "content": "word " * 700}, ANSWER], [{"role": "user", "content": "word " * 300}, ANSWER]]

    def warned(**more):
        found, errors = planned(rows, **more)
        assert errors == []
        return [(one.code, one.at.line, one.count) for one in found.diagnostics if "longer" in one.code]

    monkeypatch.setattr("ftspec.pipeline.base_files.find_spec", lambda _: None)
    assert warned() == [("perhaps-longer-than-base", 2, 1)]
    assert warned(experiment="base_model: small, engine_options: {max_length: 256}") == [("perhaps-longer-than-base", 2, 2)]
    assert warned(experiment="base_model: small, engine_options: {max_length: 9000}") == [("perhaps-longer-than-base", 2, 1)]
    monkeypatch.setattr("ftspec.pipeline.base_files.find_spec", lambda name: name)
    monkeypatch.setattr("ftspec.data.checks.base_length.tokenizer", {str(folder / "tokenizer.json"): lambda text: len(text.split())}.get)
    both = "base_model: small, matrix: {seed: [1, 2], overrides: [{where: {seed: 1}, set: {engine_options.max_length: 256}}]}"
    assert planned(rows)[1] == ["longer-than-base: the row is longer than the 600 tokens that jobs of `small` take (t.jsonl:2)"]
    assert planned(rows, experiment=both)[1] == [
        "longer-than-base: the row is longer than the 256 tokens that jobs of `small` take (t.jsonl:2)"
    ]
    checked = CliRunner().invoke(group, ["data", "check", "-C", str(tmp_path), "--json"])
    (found,) = [one for one in json.loads(checked.stdout)["diagnostics"] if one["code"] == "longer-than-base"]
    assert (found["count"], [place["line"] for place in found["places"]]) == (2, [2, 3])


@pytest.mark.parametrize(
    ("config", "given", "most"),
    [
        ({"max_position_embeddings": 2048}, {}, 2048),
        ({"n_positions": 1024, "vocab_size": 9}, {"max_length": "auto"}, 1024),
        ({"text_config": {"max_position_embeddings": 4096}, "max_position_embeddings": 77}, {}, 4096),
        ({"max_position_embeddings": 2048}, {"max_length": 100}, 100),
        ({"max_position_embeddings": 2048}, {"max_length": 10**6}, 2048),
        ({}, {"max_length": 100}, 100),
        ({"max_position_embeddings": None, "text_config": []}, {"max_length": None}, None),
    ],
)
def test_the_smaller_of_context_and_max_length_counts(config, given, most):
    """Architectures call their context by several names; `max_length` never makes it longer."""
    assert most_tokens(config, given) == most


def test_a_template_that_shows_only_the_last_answer_takes_rows_with_one(base, planned):
    """Marks that leave out earlier answers make rows with several of them an error."""
    base("small", LAST_ONLY)
    assert planned([[ASK, ANSWER]])[1] == []
    assert planned([[ASK, ANSWER], [ASK, ANSWER, ASK, ANSWER]])[1] == [
        "base-lacks: the chat template of `small` cannot show all answers of a conversation (t.jsonl:2)"
    ]


def test_the_engine_trains_on_text_and_reinforces_without_tools(base, planned):
    """Images, and tools of reinforcement tasks, are refused by the engine whatever the template can."""
    base("small", CHATML)
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]}
    assert "base-lacks: the engine `local` trains on text only (t.jsonl:1)" in planned([[image, ANSWER]])[1]
    grader = "{type: string_check, operation: eq, input: '{{sample.output_text}}', reference: '{{item.wanted}}'}"
    reinforced = f"base_model: small, method: {{type: reinforcement, grader: {grader}}}"
    task = {"messages": [ASK], "wanted": "b"}
    assert planned([task], experiment=reinforced)[1] == []
    (found,) = [one for one in planned([task, {**task, "tools": TOOLS}], experiment=reinforced)[1] if "reinforcement" in one]
    assert found == "base-lacks: the engine `local` does not train with tools by reinforcement (t.jsonl:2)"


@pytest.mark.parametrize(
    ("template", "more", "words"),
    [
        (CHATML.replace("{{ m.content }}", "{{ m.content if loop.last else '...' }}"), {}, "differently from the whole"),
        (CHATML.replace("<|im_end|>\n", "\n"), {}, "would never stop"),
        ("{% for m in messages %}", {}, "cannot be read"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", {}, "cannot be read"),
        (None, {}, "no chat template"),
        (CHATML, {"config": {"auto_map": {"AutoModel": "evil.Model"}}}, "code of its own"),
        (CHATML, {"weights": False}, "`*.safetensors`"),
    ],
)
def test_a_base_that_cannot_be_trained_is_an_error_at_its_name(base, planned, template, more, words):
    """The reason, at the line that names the base."""
    base("small", template, **more)
    (found,) = planned([[ASK, ANSWER]])[1]
    assert found.startswith("base-untrainable: the base `small` cannot be trained: ")
    assert words in found
    assert found.endswith("(ftspec.yaml:5)")


def test_a_hostile_template_only_spoils_its_own_base(base, tmp_path, monkeypatch):
    """Endless loops and endless texts are stopped by limits of a process of its own; nothing of Python is reached."""
    project = open_project(directory=tmp_path, need_spec=False)
    reaching = "{{ ''.__class__.__mro__[1].__subclasses__() }}" + CHATML
    assert "cannot be read" in examine(base("reaching", reaching), project).wrong
    monkeypatch.setattr("ftspec.pipeline.base_files._SECONDS", 2.0)
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    doubled = "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
    for name, template in {"endless": endless, "doubled": doubled}.items():
        assert examine(base(name, template), project).wrong == "its chat template does not come to an end"


def test_what_was_found_out_is_remembered(base, tmp_path, monkeypatch):
    """The second plan starts no process; another template is looked at anew."""
    project = open_project(directory=tmp_path, need_spec=False)
    folder = base("small", CHATML)
    first = examine(folder, project)
    assert first.wrong is None
    assert "tools" in first.lacks
    monkeypatch.setattr("ftspec.evals.isolation.CodeProcess._start", None)
    assert examine(folder, project) == first
    (folder / "chat_template.jinja").write_text(STRICT)
    with pytest.raises(TypeError):
        examine(folder, project)


def test_bases_are_looked_at_below_the_project_and_data_roots_only(base, tmp_path):
    """A folder elsewhere, a link that leads out, and the hub's cache unless a data root holds it, are left to the trainer."""
    root, revision = tmp_path / "project", "c" * 40
    root.mkdir()
    inside, outside = Base(name="a", path=base("small", CHATML)), Base(name="b", path=root / ".." / "models" / "small")
    hub = tmp_path / "cache" / "hub" / "models--o--n" / "snapshots" / revision
    hub.parent.mkdir(parents=True)
    hub.symlink_to(inside.path)
    (inside.path / "tokenizer_config.json").write_text("{}")
    (root / "link").symlink_to(inside.path)
    project = open_project(directory=root, need_spec=False)
    wider = open_project(directory=root, need_spec=False, data_roots=[tmp_path / "cache"])
    widest = open_project(directory=root, need_spec=False, data_roots=[tmp_path / "cache", tmp_path / "models"])
    of_hub = Base(name="h", repo="o/n", revision=revision)
    linked = Base(name="l", path=root / "link")
    assert [folder_of(one, project) for one in (outside, linked, of_hub)] == [None, None, None]
    assert [folder_of(one, wider) for one in (outside, linked, of_hub)] == [None, None, None]
    assert {folder_of(one, widest) for one in (outside, linked, of_hub)} == {inside.path}


@pytest.mark.parametrize("where", ["HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"])
def test_a_base_of_the_hub_is_looked_at_where_its_client_keeps_it(base, planned, tmp_path_factory, monkeypatch, where):
    """The user's own cache is read for the commit that a spec pins, also before the weights are there; a half-fetched one is left alone."""
    root, revision = tmp_path_factory.mktemp("home"), "c" * 40
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(where, str(root))
    inside = {"HF_HUB_CACHE": "", "HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub", "HOME": ".cache/huggingface/hub"}[where]
    snapshot = root / inside / "models--o--n" / "snapshots" / revision
    snapshot.parent.mkdir(parents=True)
    base("small", STRICT, weights=False).rename(snapshot)
    (blobs := snapshot.parents[1] / "blobs").mkdir()
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(blobs / path.name)
    engine = f"models: {{small: {{repo: o/n, revision: {revision}}}}}"
    assert planned([[SYSTEM, ASK, ANSWER]], engine=engine)[1] == []
    (snapshot / "tokenizer_config.json").write_text("{}")
    expected = "base-lacks: the chat template of `small` cannot render a system message (t.jsonl:1)"
    assert planned([[SYSTEM, ASK, ANSWER]], engine=engine)[1] == [expected]
    assert planned([[SYSTEM, ASK, ANSWER]], engine=f"models: {{small: {snapshot}}}")[1] == []


def test_odd_files_of_a_base_tell_nothing(base, tmp_path):
    """A header of any length, a configuration that is none, a named pipe: no size, no crash, no waiting."""
    import os

    project = open_project(directory=tmp_path, need_spec=False)
    assert shape_of(base("sound", CHATML), project).parameters == 100_000
    (base("long", CHATML) / "model.safetensors").write_bytes(b"\xff" * 64)
    (base("list", CHATML) / "config.json").write_text("[]")
    (base("text", CHATML) / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"[]")
    piped = base("piped", CHATML)
    (piped / "model.safetensors").unlink()
    os.mkfifo(piped / "model.safetensors")
    assert [shape_of(tmp_path / "models" / name, project) for name in ("long", "list", "text", "piped")] == [None] * 4
    assert examine(tmp_path / "models" / "list", project).wrong == "its `config.json` cannot be read"


def test_settings_and_options_that_the_trainer_refuses_have_a_place(base, planned):
    """The same sentences as of the trainer, in the spec's words, at the spec's lines."""
    base("small", CHATML)
    good = [[ASK, ANSWER]]
    assert planned(good, engine="slots: 0, models: {small: models/small}")[1] == [
        "engine-setting: `slots` of engine `local` is not usable (ftspec.yaml:2)"
    ]
    options = "base_model: small, lora: {rank: 8}, engine_options: {full: true, max_length: 3}"
    assert planned(good, experiment=options)[1] == [
        "option-refused: invalid value for `engine_options.max_length`: expected a whole number of at least 16 (ftspec.yaml:5)",
        "option-refused: full training has no adapters: give `engine_options.full` or the settings of LoRA, not both (ftspec.yaml:5)",
    ]
    child = "  b: {engine: local, train: t, base_model: {from: a}, lora: {rank: 4}}\n"
    expected = "option-refused: the model to start from is an adapter with `lora.rank` 8: training goes on with it as it is (ftspec.yaml:6)"
    assert planned(good, experiment="base_model: small, lora: {rank: 8}", more=child)[1] == [expected]
    assert planned(good, experiment="base_model: small, engine_options: {full: true}", more=child)[1] == []


def test_notes_say_what_is_not_known_yet(base, planned, tmp_path, monkeypatch):
    """A base of a hub, one that is missing, packages that are missing, an interpreter that nobody trusts."""
    base("small", CHATML)
    monkeypatch.setattr("ftspec.pipeline.interpreters.find_spec", lambda name: None if name == "trl" else name)
    models = f"models: {{small: models/small, lost: models/lost, hub: {{repo: o/n, revision: {'c' * 40}}}}}"
    experiment = "matrix: {base_model: [small, lost, hub]}"
    found, errors = planned([[ASK, ANSWER]], experiment=experiment, engine=models)
    assert errors == []
    assert [note for note in local_notes(found) if "calibrate" not in note] == [
        "local: this Python lacks trl: `pip install 'ftspec[local]'`, or name another one with `python:`",
        "local: `hub` (o/n@ccccccc) and its chat template are looked at when a job is created, not by plans",
        "local: there is no base in `models/lost`: its jobs are refused on this machine",
    ]
    found, _ = planned([[ASK, ANSWER]], engine="python: .venv/bin/python, models: {small: models/small}")
    monkeypatch.chdir(tmp_path)
    environ = {"XDG_CONFIG_HOME": str(tmp_path.parent / "config")}
    note = local_notes(found, environ=environ)[-1]
    assert note.startswith("local: `apply` starts `.venv/bin/python`, which this machine does not trust yet; if you made it: ")
    assert note.endswith('ftspec trust --command "$PWD/.venv/bin/python"')
