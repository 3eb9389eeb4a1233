"""Messages of the protocol become what chat templates read, in training as in answers; what is no text is refused."""

import pytest

from ftspec.server.trainers.local.encode import plain_message

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"order": 7}'}}


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ({"role": "user", "content": "a"}, {"role": "user", "content": "a"}),
        ({"role": "developer", "content": "a"}, {"role": "system", "content": "a"}),
        ({"role": "assistant", "content": None}, {"role": "assistant", "content": ""}),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "user", "content": "ab"}),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, {"role": "assistant", "content": "no"}),
        ({"role": "user", "content": "a", "name": "ann", "weight": 0}, {"role": "user", "content": "a", "name": "ann"}),
        (
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "id": "c1", "function": {"name": "find", "arguments": {"order": 7}}}],
            },
        ),
        ({"role": "tool", "content": "r", "tool_call_id": "c1"}, {"role": "tool", "content": "r", "tool_call_id": "c1"}),
    ],
)
def test_messages_become_roles_and_texts(raw, plain):
    """Parts are joined, arguments of calls are values, and a developer is who a template calls the system."""
    assert plain_message(raw, knows_developer=False) == plain


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"role": "robot", "content": "a"}, "known role"),
        ("hello", "known role"),
        ({"role": "user", "content": 5}, "only text"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.test/b.png"}}]}, "only text"),
        ({"role": "user", "content": [{"type": "text", "text": {"a": 1}}]}, "only text"),
        ({"role": "user", "content": [{"type": "text", "text": None}]}, "only text"),
        ({"role": "user", "content": [{"type": ["text"], "text": "a"}]}, "only text"),
        ({"role": "assistant", "tool_calls": [5]}, "with a function"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, "to be JSON"),
    ],
)
def test_what_is_no_text_is_refused(raw, words):
    """In words that name no content."""
    with pytest.raises(ValueError, match=words):
        plain_message(raw, knows_developer=True)
