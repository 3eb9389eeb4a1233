"""Rules about tools: definitions, calls and their answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ftspec.data.checks.base import MESSAGES, WARNING, Check, RowCheck
from ftspec.data.checks.chat import message_lists
from ftspec.data.formats.preference import input_of
from ftspec.data.messages import messages_of, role_of
from ftspec.data.schema import mismatch
from ftspec.printable import printable

_CALLS = (b'"tool_calls":',)
MOST_TOOLS = 128
MOST_LETTERS = 64
"""What OpenAI's document of 2026-08-21 says of `tools`, and of the name of a function."""
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MOST_LETTERS}}}")


def declared_tools(row: Mapping[str, Any], format_name: str) -> dict[str, Any] | None:
    """Return the parameters of every well declared tool by name, `None` where the row declares no tools."""
    holder = input_of(row) if format_name == "preference" else row
    tools = holder.get("tools")
    if tools is None:
        return None
    found = {}
    for tool in tools if isinstance(tools, list) else []:
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            found[function["name"]] = function.get("parameters")
    return found


def calls_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tool calls of a message that are objects."""
    calls = message.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def name_and_arguments(call: Mapping[str, Any]) -> tuple[str | None, Any]:
    """Return the name and the raw arguments of a call, `None` where they are not given as they should."""
    function = call.get("function")
    if not isinstance(function, dict):
        return None, None
    name = function.get("name")
    return (name if isinstance(name, str) else None), function.get("arguments")


class _CallRule(RowCheck):
    """A rule about tool calls."""

    formats = MESSAGES
    screen = _CALLS

    def conversations(self, row: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
        """Return the lists of messages of a row."""
        return [messages_of(given) for given in message_lists(row, self.setting.format)]

    def calls(self, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield every call of the row."""
        for messages in self.conversations(row):
            for message in messages:
                yield from calls_of(message)


class BadTools(RowCheck):
    """`tools` is not a list of tool definitions, or not one that the engine takes.

    Why: engines refuse the file, or train without the tools. OpenAI and Azure take 128 tools, with names of letters,
    digits, `_` and `-`, 64 at most.
    Fix: `[{"type": "function", "function": {"name": "...", "parameters": {...}}}]`.
    """

    code = "bad-tools"
    formats = MESSAGES
    screen = (b'"tools":', b'"parallel_tool_calls":')
    help = 'write `[{"type": "function", "function": {"name": "...", "parameters": {...}}}]`'

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the definitions."""
        holder = input_of(row) if self.setting.format == "preference" else row
        tools = holder.get("tools", [])
        if not isinstance(tools, list):
            yield "`tools` is not a list"
            return
        names = []
        for tool in tools:
            function = tool.get("function") if isinstance(tool, dict) else None
            if not isinstance(tool, dict) or tool.get("type") != "function" or not isinstance(function, dict):
                yield 'a tool is not `{"type": "function", "function": {...}}`'
            elif not isinstance(function.get("name"), str) or not function["name"]:
                yield "a tool has no `name`"
            elif not isinstance(function.get("parameters", {}), dict):
                yield "the `parameters` of a tool are not a JSON Schema object"
            else:
                names.append(function["name"])
                if self.setting.strict_tools and not _NAME.fullmatch(function["name"]):
                    yield f"the name of a tool has other characters than letters, digits, `_` and `-`, or more than {MOST_LETTERS}"
        if self.setting.strict_tools and len(tools) > MOST_TOOLS:
            yield f"the row declares more than {MOST_TOOLS} tools"
        if len(set(names)) != len(names):
            yield "two tools have the same name"
        if not isinstance(holder.get("parallel_tool_calls", True), bool):
            yield "`parallel_tool_calls` is not true or false"


class BadToolCall(_CallRule):
    """A tool call lacks its id, type or function.

    Why: engines refuse it, and no answer could refer to it. They also refuse a `tool_calls` that is empty or `null`.
    Fix: `{"id": "call_1", "type": "function", "function": {"name": "...", "arguments": "{...}"}}`; leave `tool_calls`
    out where there is no call (`ftspec data check --fix` does).
    """

    code = "bad-tool-call"
    help = (
        'write `{"id": "call_1", "type": "function", "function": {"name": "...", "arguments": "{}"}}`; where there is no call,'
        " leave `tool_calls` out (`ftspec data check --fix` does)"
    )

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look at the shape of the calls."""
        for messages in self.conversations(row):
            for message in messages:
                if "tool_calls" not in message:
                    continue
                calls = message["tool_calls"]
                if calls is None or calls == []:
                    yield "`tool_calls` is there without a call"
                    continue
                if not isinstance(calls, list):
                    yield "`tool_calls` is not a list of calls"
                    continue
                ids = [call.get("id") if isinstance(call, dict) else None for call in calls]
                if not all(isinstance(one, str) for one in ids):
                    yield "a tool call has no `id`"
                elif len(set(ids)) != len(ids):
                    yield "two tool calls of a message have the same `id`"
                for call in calls:
                    if isinstance(call, dict) and call.get("type") != "function":
                        yield 'the `type` of a tool call is not `"function"`'
                    if isinstance(call, dict) and name_and_arguments(call)[0] is None:
                        yield "a tool call has no function `name`"


class BadArguments(_CallRule):
    r"""The arguments of a call are not a string of JSON.

    Why: the model learns to write arguments that no program can read.
    Fix: `"arguments": "{\"city\": \"Oslo\"}"`: a JSON object, encoded as a string.
    """

    code = "bad-arguments"
    help = "encode the arguments as a string that holds a JSON object"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Parse every call's arguments."""
        for call in self.calls(row):
            name, arguments = name_and_arguments(call)
            if name is None:
                continue
            if not isinstance(arguments, str):
                yield "the `arguments` of a call are not a string"
            elif not isinstance(_parsed(arguments), dict):
                yield "the `arguments` of a call are not a JSON object"


class ArgumentsSchema(_CallRule):
    """The arguments of a call do not fit the tool's declared parameters.

    Why: the model learns calls that your program will refuse.
    Fix: correct the arguments, or the `parameters` of the tool.
    """

    code = "arguments-schema"
    help = "correct the arguments, or the `parameters` of the tool"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Check arguments against the declared JSON Schema."""
        tools = declared_tools(row, self.setting.format) or {}
        for call in self.calls(row):
            name, arguments = name_and_arguments(call)
            schema = tools.get(name) if name is not None else None
            values = _parsed(arguments) if isinstance(arguments, str) else None
            if isinstance(schema, dict) and isinstance(values, dict) and (problem := mismatch(values, schema)):
                yield f"arguments of `{printable(str(name)[:64])}` do not fit its parameters: {problem}"


class UndeclaredTool(_CallRule):
    """A call names a tool that the row does not declare.

    Why: at inference the model only sees declared tools, so it learns to invent names.
    Fix: add the tool to `tools` of the row.
    """

    code = "undeclared-tool"
    help = "add the tool to the row's `tools`"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look the names of calls up."""
        tools = declared_tools(row, self.setting.format)
        for call in self.calls(row):
            name, _ = name_and_arguments(call)
            if name is not None and name not in (tools or {}):
                yield f"the called tool `{printable(name[:64])}` is not declared"


class OrphanToolMessage(RowCheck):
    """A `tool` message answers no earlier call, or one that was answered.

    Why: engines refuse it: an answer must follow the call with its id, once.
    Fix: put it after the assistant message whose call has that `tool_call_id`.
    """

    code = "orphan-tool-message"
    formats = MESSAGES
    screen = (b'"role":"tool"',)
    help = "put it after the assistant message whose call has that `tool_call_id`"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look back from every tool message."""
        for given in message_lists(row, self.setting.format):
            calls: set[str] = set()
            answered: set[str] = set()
            for message in messages_of(given):
                made = {call["id"] for call in calls_of(message) if isinstance(call.get("id"), str)}
                calls |= made
                answered -= made
                if role_of(message) == "tool":
                    answer = str(message.get("tool_call_id"))
                    if answer not in calls:
                        yield "a `tool` message answers no earlier call"
                    elif answer in answered:
                        yield "two `tool` messages answer one call"
                    answered.add(answer)


class UnansweredCall(_CallRule):
    """A call in the middle of a row gets no answer.

    Why: engines refuse it: every call needs its `tool` message before the talk goes on.
    Fix: add the `tool` messages, or end the row with the call.
    """

    code = "unanswered-call"
    help = "add a `tool` message for each call, or end the row with the call"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for the answers right after each message with calls."""
        for messages in self.conversations(row):
            for position, message in enumerate(messages[:-1]):
                wanted = {call["id"] for call in calls_of(message) if isinstance(call.get("id"), str)}
                for later in messages[position + 1 :]:
                    if role_of(later) != "tool":
                        break
                    wanted.discard(str(later.get("tool_call_id")))
                if wanted:
                    yield "a tool call is never answered"


class UnusedTool(Check):
    """A tool is declared, and no row calls it.

    Why: the model learns never to use it; often the calls were lost on the way.
    Fix: add rows that call it, or remove the declaration.
    """

    code = "unused-tool"
    severity = WARNING
    help = "add rows that call it, or remove the declaration"


class ParallelCalls(_CallRule):
    """A message has several calls although `parallel_tool_calls` is false.

    Why: the row contradicts itself; engines refuse it.
    Fix: put the calls into separate messages, or drop the flag.
    """

    code = "parallel-calls"
    screen = (b'"parallel_tool_calls":false',)
    help = "put the calls into separate messages, or drop `parallel_tool_calls`"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Count the calls of each message."""
        holder = input_of(row) if self.setting.format == "preference" else row
        if holder.get("parallel_tool_calls") is False:
            for messages in self.conversations(row):
                if any(len(calls_of(message)) > 1 for message in messages):
                    yield "a message has several calls although `parallel_tool_calls` is false"


class LegacyFunctions(RowCheck):
    """A row uses `functions` and `function_call`, the forms of 2023.

    Why: several engines refuse them.
    Fix: rewrite them as `tools` and `tool_calls`.
    """

    code = "legacy-functions"
    severity = WARNING
    formats = MESSAGES
    screen = (b'"functions":', b'"function_call":', b'"role":"function"')
    help = "rewrite them as `tools` and `tool_calls`"

    def find(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Look for the old names where they mean something."""
        messages = [message for given in message_lists(row, self.setting.format) for message in messages_of(given)]
        if "functions" in row or any(message.get("function_call") is not None or role_of(message) == "function" for message in messages):
            yield "the row uses `functions` and `function_call`, which several engines refuse"


class MixedTools(Check):
    """`tools` differ between rows.

    Why: that is right when several tasks are mixed, and a mistake when one definition was edited half way.
    Fix: compare the definitions.
    """

    code = "mixed-tools"
    severity = WARNING
    help = "compare the definitions; nothing to do where rows are of different tasks"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
