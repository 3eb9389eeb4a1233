"""What is learned of a conversation, and that it is what TRL itself would learn."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ftspec.pipeline import template_probe
from ftspec.pipeline.known_templates import has_twin

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]

_HEAD = """
import json, sys, warnings
from transformers import AutoTokenizer
from ftspec.server.trainers.local.encode import *
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
given = json.loads(sys.stdin.read())
def told(encoded):
    return tokenizer.decode([label for label in encoded["labels"] if label != IGNORED])
"""


@pytest.fixture
def there(tiny, warm):
    """Run a few lines in an environment that trains; they `print` one JSON value."""

    def run(code, given=None):
        done = subprocess.run(
            [warm, "-c", _HEAD + code, str(tiny)],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


TOOLS = [{"type": "function", "function": {"name": "find", "description": "d", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"order": 7}'}}
CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "first"},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "second"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
            {"role": "assistant", "content": "done"},
        ],
        "tools": TOOLS,
    },
]


def test_masks_are_those_of_trl(there):
    """For plain, multi-turn and tool conversations, ids and labels equal those of TRL's own assistant-only loss."""
    pairs = there(
        """
from trl import SFTConfig, SFTTrainer
from transformers import AutoModelForCausalLM
from datasets import Dataset
found = policy(tokenizer)
encoder = Encoder(tokenizer, found)
pairs = []
for row in given:
    mine = encoder.supervised(row)
    messages, tools = encoder._conversation(row)
    theirs = tokenizer.apply_chat_template(messages, tools=tools, chat_template=found.template, return_dict=True,
                                           return_assistant_tokens_mask=True)
    labels = [i if m else IGNORED for i, m in zip(theirs["input_ids"], theirs["assistant_masks"])]
    pairs.append([mine["input_ids"], mine["labels"], theirs["input_ids"], labels])
rows = [{"messages": row["messages"]} for row in given[:2]]
import tempfile
trainer = SFTTrainer(AutoModelForCausalLM.from_pretrained(sys.argv[1]), processing_class=tokenizer, train_dataset=Dataset.from_list(rows),
    args=SFTConfig(output_dir=tempfile.mkdtemp(), assistant_only_loss=True, report_to="none", use_cpu=True, bf16=False, shuffle_dataset=False))
for row, pair in zip(trainer.train_dataset, pairs):
    one = trainer.data_collator([row])
    pair[2], pair[3] = one["input_ids"][0].tolist(), one["labels"][0].tolist()
print(json.dumps([found.mode, pairs]))
""",
        CONVERSATIONS,
    )
    mode, rows = pairs
    assert mode == "training"
    assert len(rows) == 3
    for ids, labels, their_ids, their_labels in rows:
        assert ids == their_ids
        assert labels == their_labels


def test_only_weighted_turns_and_their_ends_are_learned(there):
    """A turn of weight 0 is read and not learned, arguments of tools are values, and every learned turn has its end."""
    rows = json.loads(json.dumps(CONVERSATIONS))
    rows[1]["messages"][2]["weight"] = 0
    rows.append({"messages": [{"role": "developer", "content": "dev"}, *CONVERSATIONS[0]["messages"]]})
    plain, weighted, tools, developer = there(
        "encoder = Encoder(tokenizer, policy(tokenizer))\nprint(json.dumps([told(encoder.supervised(row)) for row in given]))", rows
    )
    assert plain.strip() == developer.strip() == "b<|im_end|>"
    assert "first" not in weighted
    assert weighted.strip() == "second<|im_end|>"
    assert '{"name": "find", "arguments": {"order": 7}}' in tools
    assert tools.count("<|im_end|>") == 2


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = CHATML.replace("{{ m.content }}", "{{ m.content if loop.last else '...' }}")
ENDLESS = CHATML.replace("<|im_end|>\n", "\n")


def test_templates_without_marks_are_understood_or_refused(there):
    """An unknown template is learned by difference; one that rewrites history, or never ends a turn, is refused."""
    answers = there(
        """
answers = []
for template in given["templates"]:
    tokenizer.chat_template = template
    try:
        found = policy(tokenizer)
        answers.append([found.mode, found.tools, told(Encoder(tokenizer, found).supervised(given["row"]))])
    except TemplateRefused as refused:
        answers.append(["refused", str(refused), ""])
tokenizer.chat_template = given["templates"][0]
encoder = Encoder(tokenizer, policy(tokenizer), max_length=40)
for row in given["bad"]:
    try:
        encoder.supervised(row)
        answers.append("learned")
    except ValueError as error:
        answers.append(str(error))
print(json.dumps(answers))
""",
        {
            "templates": [CHATML, FORGETFUL, ENDLESS, None],
            "row": CONVERSATIONS[1],
            "bad": [
                CONVERSATIONS[2],
                {"messages": [{"role": "user", "content": "a"}]},
                {"messages": [{"role": "user", "content": "long " * 60}, {"role": "assistant", "content": "b"}]},
                {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 2}]},
                {"messages": [{"role": "nobody", "content": "a"}]},
                {"messages": []},
            ],
        },
    )
    learned, forgetful, endless, none, *bad = answers
    assert learned == ["difference", False, "first<|im_end|>\nsecond<|im_end|>\n"]
    assert forgetful[0] == "refused"
    assert "differently from the whole" in forgetful[1]
    assert endless[0] == "refused"
    assert "never stop" in endless[1]
    assert none[1] == "the tokenizer has no chat template"
    assert bad[0] == "the chat template of the base cannot render tools"
    assert bad[1] == "expected a turn of the assistant to learn from"
    assert "more than the 40 that fit" in bad[2]
    assert bad[3] == "expected a weight of 0 or 1"
    assert bad[4] == "expected messages with a known role"
    assert bad[5] == "expected a list of messages"


def test_plans_know_every_template_as_the_trainer_does(there):
    """For all templates that TRL stores: what the trainer refuses, whole or a kind of row, plans refuse; the twins are those of TRL.

    And no template makes fewer tokens of a row than those of its texts, by which plans refuse rows that are too long.
    """
    told = there(
        """
import re
from pathlib import Path
import trl
from trl.chat_template_utils import get_training_chat_template
from ftspec.data.checks.base_length import least, tokenizer as counting
count = counting(sys.argv[1] + "/tokenizer.json")
stored = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
texts = {path.stem: path.read_text() for path in stored if not path.stem.endswith("_training")}
words = {word for text in texts.values() for word in re.findall(r"<[|\\uff5c]?[A-Za-z_\\u2581|\\uff5c/]{2,40}>|\\[/?[A-Z_]{2,20}\\]", text)}
tokenizer.add_tokens(sorted(words), special_tokens=True)
tokenizer.add_special_tokens({"bos_token": "<s>"})
answers, shorter = {}, []
for name, text in texts.items():
    tokenizer.chat_template = text
    failing = []
    try:
        encoder = Encoder(tokenizer, policy(tokenizer))
    except TemplateRefused:
        encoder = None
    for kind, row in given.items():
        try:
            found = encoder and encoder.supervised(row)
        except Exception:
            failing.append(kind)
        else:
            shorter += [name] if found and len(found["input_ids"]) < least(row["messages"], count) else []
    try:
        twin = get_training_chat_template(tokenizer) is not None
    except ValueError:
        twin = False
    answers[name] = [text, encoder is not None, failing, twin]
print(json.dumps([answers, shorter, sorted(tokenizer.get_added_vocab()), {"bos_token": "<s>", "eos_token": tokenizer.eos_token}]))
""",
        {kind: in_openais_words(kind, messages) for kind, messages in template_probe.CONVERSATIONS.items()},
    )
    answers, shorter, ends, words = told
    assert len(answers) > 30
    assert shorter == []
    for name, (text, trainable, failing, twin) in answers.items():
        bits = template_probe.probe(text, words, ends, twin)
        found = {kind for kind, bit in template_probe.BITS.items() if bits & bit}
        assert has_twin(text) is twin, name
        assert trainable is not bool(found & {"unreadable", "differs", "endless"}), name
        assert not trainable or set(failing) <= found, name


def in_openais_words(kind, messages):
    """Return a row of these messages, with arguments as text."""
    row = json.loads(json.dumps({"messages": messages, **({"tools": template_probe.TOOLS} if kind == "tools" else {})}))
    for message in row["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return row


def test_a_base_that_cannot_be_trained_is_refused_before_the_job_exists(opened, tiny, data, tmp_path):
    """A template that cannot be learned from, other formats than safetensors, and code of its own: each is a 400."""
    local = opened(models={name: str(tmp_path / name) for name in ("forgetful", "pickled", "coded", "absent")})
    for name in ("forgetful", "pickled", "coded"):
        folder = tmp_path / name
        folder.mkdir()
        for path in tiny.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    (tmp_path / "forgetful" / "chat_template.jinja").write_text(FORGETFUL)
    Path(tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    config = json.loads((tiny / "config.json").read_text())
    (tmp_path / "coded" / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    codes = {}
    for name in ("forgetful", "pickled", "coded", "absent"):
        answer = local.post(data("tickets", 12), model=name)
        assert answer.status_code == 400
        codes[name] = answer.json()["error"]["code"]
    assert codes == {
        "forgetful": "unsupported_chat_template",
        "pickled": "unsafe_weights",
        "coded": "remote_code",
        "absent": "model_not_available",
    }
    assert local.call("GET", "fine_tuning/jobs").json()["data"] == []
