"""Rules about preference rows (DPO)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.checks.base import INFO, PREFERENCE, WARNING, Check, RowCheck
from ftspec.data.formats.preference import OUTPUTS, input_of, output_of
from ftspec.data.messages import messages_of, role_of


class PreferenceShape(RowCheck):
    """A preference row lacks its input or one of its outputs.

    Why: the method compares two answers to one prompt; without all three there is nothing to compare.
    Fix: `{"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}`.
    """

    code = "preference-shape"
    formats = PREFERENCE
    help = 'write `{"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}`'

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for the three parts."""
        if not messages_of(input_of(row).get("messages")):
            yield "the row has no `input.messages`"
        for key in OUTPUTS:
            if output_of(row, key) is None:
                yield f"the row has no `{key}`"
            elif not isinstance(output_of(row, key), list):
                yield f"`{key}` is not a list of messages"


class OldPreferenceNames(RowCheck):
    """The outputs have the names of an older schema.

    Why: `preferred_completion` was in a schema of 2025; engines want `preferred_output`.
    Fix: `ftspec data check --fix` renames them.
    """

    code = "old-preference-names"
    formats = PREFERENCE
    screen = tuple(f'"{old}":'.encode() for old in OUTPUTS.values())
    help = "rename it: `ftspec data check --fix` does"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for the old names."""
        for new, old in OUTPUTS.items():
            if old in row:
                yield f"`{old}` is called `{new}` today"


class PreferenceOutput(RowCheck):
    """An output is not one answer of the assistant.

    Why: engines take assistant (and tool) messages there, with at least one of the assistant.
    Fix: put everything before the answer into `input.messages`.
    """

    code = "preference-output"
    formats = PREFERENCE
    help = "put everything before the answer into `input.messages`"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the roles of the outputs."""
        for key in OUTPUTS:
            output = output_of(row, key)
            if not isinstance(output, list):
                continue
            roles = [role_of(message) for message in messages_of(output)]
            if "assistant" not in roles:
                yield f"`{key}` has no `assistant` message"
            elif not set(roles) <= {"assistant", "tool"}:
                yield f"`{key}` has messages that are not the assistant's"


class SeveralAnswers(RowCheck):
    """An output has several messages of the assistant.

    Why: OpenAI trains on one turn, the last answer; other engines take more.
    Fix: put everything before the last answer into `input.messages`.
    """

    code = "several-answers"
    severity = WARNING
    formats = PREFERENCE
    help = "put everything before the last answer into `input.messages`, or train where several turns are taken"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Count the answers."""
        for key in OUTPUTS:
            if sum(role_of(message) == "assistant" for message in messages_of(output_of(row, key))) > 1:
                yield f"`{key}` has several `assistant` messages"


class SameOutputs(RowCheck):
    """Both outputs are the same.

    Why: there is no preference to learn.
    Fix: remove the row.
    """

    code = "same-outputs"
    formats = PREFERENCE
    help = "remove the row"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Compare the outputs."""
        preferred, other = (output_of(row, key) for key in OUTPUTS)
        if preferred and preferred == other:
            yield "both outputs are the same"


class InputEndsWithAssistant(RowCheck):
    """The input of a preference row ends with the assistant.

    Why: the outputs are the next message, and the assistant does not answer itself.
    Fix: move that message into the outputs, or remove it.
    """

    code = "input-ends-with-assistant"
    formats = PREFERENCE
    help = "move that message into the outputs, or remove it"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the last message of the input."""
        messages = messages_of(input_of(row).get("messages"))
        if messages and role_of(messages[-1]) == "assistant":
            yield "the input ends with an `assistant` message"


class PreferenceNotText(RowCheck):
    """A preference row holds more than text.

    Why: preference training is for text only on the hosted engines.
    Fix: remove images and other parts.
    """

    code = "preference-not-text"
    severity = WARNING
    formats = PREFERENCE
    screen = (b'"image_url"', b'"input_audio"', b'"file"')
    help = "remove images and other parts"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for parts that are not text."""
        given = [input_of(row).get("messages"), *(output_of(row, key) for key in OUTPUTS)]
        for message in (message for messages in given for message in messages_of(messages)):
            content = message.get("content")
            if isinstance(content, list) and any(
                isinstance(part, dict) and part.get("type") not in {"text", "refusal"} for part in content
            ):
                yield "a message holds more than text"


class LengthBias(Check):
    """The preferred answers are mostly longer (or mostly shorter).

    Why: the cheapest thing to learn is then the length, not the quality.
    Fix: balance the lengths, or watch the answers' length in the evals.
    """

    code = "length-bias"
    severity = INFO
    help = "balance the lengths, or watch the length of answers in the evals"


class ReversedPair(Check):
    """The same two answers appear elsewhere with the opposite preference.

    Why: the rows cancel each other out; annotators disagreed, or a label was swapped.
    Fix: decide for one.
    """

    code = "reversed-pair"
    severity = WARNING
    help = "decide for one of the two, and remove the other"
