"""What a chat template can render: runs in a process of its own, behind walls. Stands alone, imports no ftspec.

A template is a program that somebody else wrote. Planning renders made-up conversations with it, never
rows, in jinja's sandbox and inside the walls of `evals.isolation`: no network, no files to write, little
time and memory. `probe` is given the template and returns the sum of the `BITS` that hold of it.
"""

import json
from datetime import UTC, datetime
from typing import Any

BITS = {
    "unreadable": 1, "differs": 2, "endless": 4,
    "system": 8, "late_system": 16, "order": 32, "opening": 64, "turns": 128, "tools": 256,
}  # fmt: skip
"""The first three: it cannot be trained on at all. The others: what it lacks (`data.checks.base_model.LACKS`)."""

BEGIN, END = "\ue000", "\ue001"
USER, ANSWER = {"role": "user", "content": "user-6f1c"}, {"role": "assistant", "content": "answer-9b2e"}
SYSTEM = {"role": "system", "content": "system-4d7a"}
CALL = {"type": "function", "id": "call00001", "function": {"name": "name-a8f3", "arguments": {"key-b9d4": "value-d6e7"}}}
TOOL = {"role": "tool", "name": "name-a8f3", "tool_call_id": "call00001", "content": "found-c4f9"}
TOOLS = [{"type": "function", "function": {"name": "name-a8f3", "description": "", "parameters": {"type": "object", "properties": {}}}}]
CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "system": [SYSTEM, USER, ANSWER],
    "late_system": [USER, ANSWER, SYSTEM, USER, ANSWER],
    "order": [USER, USER, ANSWER],
    "opening": [ANSWER, USER, ANSWER],
    "turns": [USER, ANSWER, USER, ANSWER],
    "tools": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, TOOL, ANSWER],
}


def probe(template: str, words: dict[str, str], ends: list[str], twin: bool) -> int:  # noqa: FBT001 called with JSON
    """Return what is wrong with a template.

    `words` are the tokens it may name (`bos_token`), `ends` the tokens that may end a turn (none: not
    known). With `twin` the trainer knows a marked twin of it, so only what it renders is looked at.
    """
    from jinja2.exceptions import TemplateError

    try:
        render = renderer(template, words)
        render([USER, ANSWER])
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return BITS["unreadable"]
    if twin:
        return lacking(lambda turns, tools: rendered_by_twin(render, turns, tools))
    if BEGIN in render([USER, ANSWER]) and ended(marked(render, [USER, ANSWER, USER], None), ends):
        return lacking(lambda turns, tools: shown(render, turns, tools) and whole(marked(render, turns, tools), turns))
    try:
        spans = grown(render, CONVERSATIONS["turns"], None)
    except Exception:  # noqa: BLE001 whatever it raises: it cannot render the beginning of a conversation
        return BITS["differs"]
    if not whole(spans, CONVERSATIONS["turns"]):
        return BITS["differs"]
    if not ended(spans, ends):
        return BITS["endless"]
    return lacking(lambda turns, tools: shown(render, turns, tools) and whole(grown(render, turns, tools), turns))


def renderer(template: str, words: dict[str, str]) -> Any:
    """Return what renders conversations as the trainer does; marked answers stand between `BEGIN` and `END`."""
    from jinja2 import nodes
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Marks(Extension):
        tags = {"generation"}  # noqa: RUF012 jinja's own way

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("between"), [], [], body).set_lineno(line)

        def between(self, caller: Any) -> str:
            return f"{BEGIN}{caller()}{END}"

    def refuse(message: object) -> None:
        raise TemplateError(str(message))

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Marks, "jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = to_json
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now(UTC).strftime(str(form))}
    compiled = environment.from_string(template)

    def render(messages: Any, *, tools: Any = None, answering: bool = False) -> str:
        return str(compiled.render(messages=messages, tools=tools, documents=None, add_generation_prompt=answering, **words))

    return render


def to_json(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:  # noqa: FBT001, FBT002 as templates call it
    """Return JSON that is not escaped for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def lacking(can: Any) -> int:
    """Return the bits of the conversations that cannot be learned from."""
    missing = 0
    for name, turns in CONVERSATIONS.items():
        try:
            good = can(turns, TOOLS if name == "tools" else None)
        except Exception:  # noqa: BLE001 whatever it raises: it cannot
            good = False
        missing |= 0 if good else BITS[name]
    return missing


def shown(render: Any, turns: Any, tools: Any) -> bool:
    """Whether everything that was said appears."""
    text = plain(render(turns, tools=tools))
    said = {word for turn in turns for word in (turn["content"],) if word}
    called = {"name-a8f3", "key-b9d4", "value-d6e7"} if tools else set()
    return all(word in text for word in said | called) and (not tools or declared(render, tools))


def declared(render: Any, tools: Any) -> bool:
    """Whether tools appear that nobody has called."""
    return "name-a8f3" in render([USER], tools=tools)


def rendered_by_twin(render: Any, turns: Any, tools: Any) -> bool:
    """Whether a template's twin shows everything, too: some twins put right that arguments of tools are values."""
    try:
        return shown(render, turns, tools)
    except TypeError:
        return bool(tools) and declared(render, tools)


def plain(text: str) -> str:
    """Return a rendering without marks."""
    return text.replace(BEGIN, "").replace(END, "")


def marked(render: Any, turns: Any, tools: Any) -> list[str]:
    """Return what stands between marks; neighbours are one."""
    return [part.partition(END)[0] for part in render(turns, tools=tools).replace(END + BEGIN, "").split(BEGIN)[1:]]


def grown(render: Any, turns: Any, tools: Any) -> list[str]:
    """Return what each answer adds to its conversation (`ValueError`: its beginning is rendered otherwise)."""
    text = plain(render(turns, tools=tools))
    found = []
    for place, turn in enumerate(turns):
        if turn["role"] == "assistant":
            before = plain(render(turns[:place], tools=tools, answering=True)) if place else ""
            after = plain(render(turns[: place + 1], tools=tools))
            if not place or not text.startswith(after) or not after.startswith(before):  # nobody renders a conversation of nothing
                msg = "the beginning is rendered otherwise"
                raise ValueError(msg)
            found.append(after[len(before) :])
    return found


def whole(spans: list[str], turns: Any) -> bool:
    """Whether the spans are the answers."""
    answers = [turn for turn in turns if turn["role"] == "assistant"]
    return len(spans) == len(answers) and all(turn["content"] in span for turn, span in zip(answers, spans, strict=True))


def ended(spans: list[str], ends: list[str]) -> bool:
    """Whether each span ends with a token that ends a turn."""
    return bool(spans) and (not ends or all(any(span.rstrip().endswith(end) for end in ends) for span in spans))
