"""Rules about messages: chat rows, and the messages of reinforcement and preference rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.checks.base import CHAT, INFO, MESSAGES, WARNING, Check, RowCheck
from ftspec.data.formats.preference import OUTPUTS, input_of, output_of
from ftspec.data.messages import messages_of, role_of, text_of
from ftspec.printable import printable

SPECIAL_TOKENS = ("<|endoftext|>", "<|endofprompt|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|im_start|>", "<|im_end|>")

MESSAGE_KEYS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "weight", "tool_calls", "function_call", "refusal", "audio"},
    "tool": {"role", "content", "tool_call_id", "name"},
    "function": {"role", "content", "name"},
}
TOP_KEYS = {
    "chat": {"messages", "tools", "parallel_tool_calls", "functions"},
    "preference": {"input", *OUTPUTS, *OUTPUTS.values()},
    "completion": {"prompt", "completion"},
}
INPUT_KEYS = {"messages", "tools", "parallel_tool_calls"}
"""What the `input` of a preference row has."""
LABEL_LENGTH = 40
LABEL_WORDS = 4
"""Longer answers are sentences."""
COPY_LENGTH = LABEL_LENGTH + 1
"""Shorter answers (labels, numbers) may well stand in the question."""


def message_lists(row: Mapping[str, Any], format_name: str) -> list[Any]:
    """Return every value of a row that should be a list of messages."""
    if format_name == "preference":
        return [input_of(row).get("messages"), *(output_of(row, key) for key in OUTPUTS)]
    return [row.get("messages")]


class _MessageRule(RowCheck):
    """A rule about single messages."""

    formats = MESSAGES

    def messages(self, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield every message of the row that is an object."""
        for given in message_lists(row, self.setting.format):
            yield from messages_of(given)


class NoMessages(RowCheck):
    """A row has no messages.

    Why: there is nothing to learn from it, and the engine refuses the file.
    Fix: give `messages` at least a question and an answer.
    """

    code = "no-messages"
    formats = CHAT | frozenset({"reinforcement"})
    help = 'give the row messages: `{"messages": [{"role": "user", "content": "..."}, ...]}`'

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at `messages` as a whole."""
        given = row.get("messages")
        if "messages" not in row:
            yield "the row has no `messages`"
        elif not isinstance(given, list):
            yield "`messages` is not a list"
        elif not given:
            yield "`messages` is empty"
        elif not all(isinstance(message, dict) for message in given):
            yield "a message is not an object"


class UnknownRole(_MessageRule):
    """A message has a role that the engine does not know.

    Why: the engine refuses the whole file for it.
    Fix: use `system`, `developer`, `user`, `assistant` or `tool`, as far as the engine has them.
    """

    code = "unknown-role"
    help = "use one of the engine's roles; for most: `system`, `user`, `assistant`, `tool`"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at every role."""
        for message in self.messages(row):
            role = message.get("role")
            if "role" not in message:
                yield "a message has no `role`"
            elif not isinstance(role, str):
                yield "the `role` of a message is not a text"
            elif role not in self.setting.roles:
                yield f"the role `{printable(role[:40])}` is not one of the engine's"


class UnknownMessageKey(_MessageRule):
    """A message has a member that its role does not have.

    Why: engines refuse it, or drop it without a word.
    Fix: remove it; texts belong into `content`. Reasoning in a member of its own is moved there by the transform
    `keep_reasoning`, and left out by `strip_reasoning`; members without a value go with `ftspec data check --fix`.
    """

    code = "unknown-message-key"
    help = "remove it: `ftspec data check --fix` does where it is empty, `strip_reasoning` under `transforms:` where it is reasoning"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the keys of every message."""
        for message in self.messages(row):
            role = role_of(message)
            known = MESSAGE_KEYS.get(role or "")
            if known is not None and not message.keys() <= known:
                for key in sorted(message.keys() - known):
                    yield f"a message by `{role}` has the unknown member `{printable(key[:40])}`"


class UnknownKey(RowCheck):
    """A row has a member that its format does not have.

    Why: some engines refuse the file for it, the others ignore it. Fields that `group_by` or a
    grader refers to are meant to be there and not reported.
    Fix: remove it (`transforms: [{type: drop, fields: [...]}]`), or correct its name.
    """

    code = "unknown-key"
    severity = WARNING
    formats = frozenset({"chat", "preference", "completion"})
    help = "remove it (`{type: drop, fields: [...]}` under `transforms:` does), or correct its name"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the keys of the row."""
        known = TOP_KEYS[self.setting.format]
        if not row.keys() <= known:
            for key in sorted(row.keys() - known - self.setting.columns):
                yield f"the row has the unknown member `{printable(key[:40])}`"
        if self.setting.format == "preference" and not input_of(row).keys() <= INPUT_KEYS:
            for key in sorted(input_of(row).keys() - INPUT_KEYS):
                yield f"`input` has the unknown member `{printable(key[:40])}`"


class NoAssistant(RowCheck):
    """A chat row has no message of the assistant.

    Why: the assistant's messages are what the model learns to write.
    Fix: add the answer that you want.
    """

    code = "no-assistant"
    formats = CHAT
    help = 'add the answer that you want: `{"role": "assistant", "content": "..."}`'

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for an assistant, which may be meant by an unknown role."""
        roles = {role_of(message) for message in messages_of(row.get("messages"))}
        if roles and "assistant" not in roles and roles <= MESSAGE_KEYS.keys():
            yield "the row has no `assistant` message"


class LastNotAssistant(RowCheck):
    """The last message of a chat row is not the assistant's.

    Why: what follows the last answer teaches nothing, and engines refuse it.
    Fix: end the row with the answer.
    """

    code = "last-not-assistant"
    formats = CHAT
    help = "end the row with the assistant's answer"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the last message, where there is an assistant at all."""
        messages = messages_of(row.get("messages"))
        if messages and role_of(messages[-1]) != "assistant" and any(role_of(message) == "assistant" for message in messages):
            yield "the last message is not the `assistant`'s"


class BadWeight(_MessageRule):
    """A `weight` is not 0 or 1, or leaves nothing to learn.

    Why: engines take 0 and 1 only (not `true`), on the assistant's messages; a row whose last
    answer, or every answer, weighs 0 is refused or wasted.
    Fix: give the last answer the weight 1, or no weight.
    """

    code = "bad-weight"
    screen = (b'"weight":',)
    help = "use 0 or 1, and leave the last answer at 1"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at all weights, then at what they leave."""
        for message in self.messages(row):
            weight = message.get("weight", 1)
            if isinstance(weight, bool) or weight not in (0, 1):
                yield "a `weight` is not 0 or 1"
        if self.setting.format != "chat":
            return
        messages = messages_of(row.get("messages"))
        answers = [message for message in messages if role_of(message) == "assistant"]
        if answers and not any(message.get("weight", 1) for message in answers):
            yield "every answer has the weight 0, so there is nothing to learn"
        elif answers and messages[-1] is answers[-1] and not answers[-1].get("weight", 1):
            yield "the last answer has the weight 0"


class EmptyContent(_MessageRule):
    """A message has no content.

    Why: an empty question is a lost one, and an empty answer teaches the model to say nothing.
    Only an assistant that calls tools (or refuses) may do without, and a tool that returns nothing.
    Fix: fill the content, or remove the row.
    """

    code = "empty-content"
    help = "fill the `content`, or remove the row"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at every content."""
        for message in self.messages(row):
            content, role = message.get("content"), role_of(message)
            if isinstance(content, (str, list)):
                if _is_empty(content) and role not in {"tool", "function"} and not _does_without(message, role):
                    yield f"the `content` of a message by `{_shown(role)}` is empty"
            elif content is not None:
                yield f"the `content` of a message by `{_shown(role)}` is neither a text nor a list of parts"
            elif not _does_without(message, role):
                yield f"a message by `{_shown(role)}` has no `content`"


def _is_empty(content: str | list[Any]) -> bool:
    """Whether a content says nothing: no text, no part, or only parts with empty texts."""
    if isinstance(content, str):
        return not content or content.isspace()
    return all(isinstance(part, dict) and part.get("type") == "text" and not str(part.get("text")).strip() for part in content)


def _does_without(message: Mapping[str, Any], role: str | None) -> bool:
    """Whether a message says what it has to say in other members than its content."""
    return role == "assistant" and any(message.get(key) for key in ("tool_calls", "function_call", "refusal", "audio"))


class NoUser(RowCheck):
    """A row has no message of the user.

    Why: the model would learn to speak unasked, which is seldom meant.
    Fix: add the question.
    """

    code = "no-user"
    severity = WARNING
    formats = CHAT
    help = "add the question, unless the model shall speak first"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for a user, who may be meant by an unknown role."""
        roles = {role_of(message) for message in messages_of(row.get("messages"))}
        if roles and "user" not in roles and roles <= MESSAGE_KEYS.keys():
            yield "the row has no `user` message"


class SystemNotFirst(_MessageRule):
    """A system prompt is not the first message, or there are several.

    Why: chat templates of open models refuse or ignore a system prompt further down.
    Fix: merge them into one first message.
    """

    code = "system-not-first"
    severity = WARNING
    help = "merge the system prompts into one first message"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the messages after the first."""
        for given in message_lists(row, self.setting.format):
            messages = messages_of(given)
            if any(role_of(message) in {"system", "developer"} for message in messages[1:]):
                several = role_of(messages[0]) in {"system", "developer"}
                yield "the row has several system prompts" if several else "the system prompt is not the first message"


class SpecialToken(RowCheck):
    """A text holds a special token such as `<|endoftext|>`.

    Why: engines refuse it, or the model learns to stop in the middle.
    Fix: remove it from the text; the engine adds its own.
    """

    code = "special-token"
    screen = (b"<|",)
    help = "remove it from the text: the engine adds its own"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for the tokens in every text of the row."""
        found = {token for text in texts_of(row) if "<|" in text for token in SPECIAL_TOKENS if token in text}
        for token in sorted(found):
            yield f"a text holds the special token `{token}`"


class OuterSpace(RowCheck):
    """An answer starts or ends with white space.

    Why: the model learns to write it too, and exact comparisons then fail.
    Fix: trim the answers.
    """

    code = "outer-space"
    severity = WARNING
    formats = CHAT
    help = "trim the answers: `ftspec data check --fix` does"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the ends of the answers."""
        for message in messages_of(row.get("messages")):
            text = message.get("content")
            if isinstance(text, str) and role_of(message) == "assistant" and text.strip() and text != text.strip():
                yield "an answer starts or ends with white space"


class TargetInPrompt(RowCheck):
    """The answer stands word for word in the prompt.

    Why: the model learns to copy rather than to answer, and evals look better than they are.
    Short answers (labels) are not reported. Where the task is to find a passage, it is as it should be.
    Fix: check how the row was made.
    """

    code = "target-in-prompt"
    severity = WARNING
    formats = CHAT
    help = "check how the row was made, unless the task is to copy"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for the last answer in what the user said."""
        messages = messages_of(row.get("messages"))
        if len(messages) < 2 or role_of(messages[-1]) != "assistant":
            return
        target = text_of(messages[-1]).strip()
        if len(target) >= COPY_LENGTH and any(target in text_of(message) for message in messages[:-1] if role_of(message) == "user"):
            yield "the answer stands word for word in the prompt"


class NotALabel(RowCheck):
    """An answer is no label, although the job's `preset` is classification.

    Why: a classifier learns to give one of a few short answers; a sentence among them is a slip,
    and label metrics count it as a class of its own.
    Fix: answer with the label alone, or drop the preset.
    """

    code = "not-a-label"
    severity = WARNING
    formats = CHAT
    help = "answer with the label alone, or drop `preset: classification`"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the length of the last answer, where labels are wanted."""
        messages = messages_of(row.get("messages"))
        if not self.setting.labels or not messages or role_of(messages[-1]) != "assistant":
            return
        text = text_of(messages[-1]).strip()
        if len(text) > LABEL_LENGTH or "\n" in text or len(text.split()) > LABEL_WORDS:
            yield "the answer is no label"


def _shown(role: str | None) -> str:
    return printable((role or "?")[:40])


class MixedSystem(Check):
    """Some rows have a system prompt, others none.

    Why: the model learns two behaviours, and which one you get depends on the prompt you send later.
    Fix: give all rows the prompt that you will use (`transforms: [{type: system_prompt, file: ...}]`).
    """

    code = "mixed-system"
    severity = INFO
    help = "give all rows one: `{type: system_prompt, file: prompt.txt}` under `transforms:`"


def texts_of(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value, keys aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)
