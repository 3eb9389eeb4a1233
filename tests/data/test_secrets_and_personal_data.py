"""Secrets and personal data are found and replaced, and ordinary text is left alone."""

from __future__ import annotations

import pytest

from ftspec.data import safety

RANDOM = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY"

FOUND = {
    "OpenAI or Anthropic key": f"sk-proj-{RANDOM}",
    "AWS access key": "AKIA" + "ABCDEFGHIJ234567",
    "GitHub token": f"ghp_{RANDOM}abcd",
    "GitLab token": f"glpat-{RANDOM}",
    "Hugging Face token": f"hf_{RANDOM}",
    "Slack token": "xoxb-" + "123456789012-abcdefghij",
    "Slack webhook": "https://hooks.slack.com/services/" + "T00000000/B00000000/abcdefgh",
    "Google API key": "AIza" + RANDOM + "abc",
    "Google OAuth token": f"ya29.{RANDOM}",
    "Stripe key": "sk_live_" + RANDOM,
    "Groq key": f"gsk_{RANDOM}{RANDOM}",
    "xAI key": f"xai-{RANDOM}{RANDOM}",
    "SendGrid key": f"SG.{RANDOM}.{RANDOM}",
    "npm token": f"npm_{RANDOM}abcd",
    "package index token": f"pypi-AgEIcHlwaS5vcmc{RANDOM}{RANDOM}",
    "Twilio key": "SK" + "0123456789abcdef" * 2,
    "Telegram bot token": "123456789:AA" + RANDOM + "a",
    "JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "private key": "-----BEGIN RSA PRIVATE KEY-----",
    "password in a URL": "postgres://admin:hunter22@db.internal:5432/x",
    "assigned secret": "API_KEY = '9f8e7d6c5b4a39281706f5e4d3c2b1a0'",
    "e-mail address": "kari.nordmann@firma.no",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "payment card": "4111 1111 1111 1111",
    "phone number": "+49 30 1234567",
}


@pytest.mark.parametrize(("name", "text"), FOUND.items(), ids=list(FOUND))
def test_each_kind_is_found_in_the_middle_of_a_sentence(name, text):
    """The stretch that is found is the secret, and it is called by its kind."""
    around = f"Use {text} today, please."
    found = list(safety.find(around))
    assert [kind.name for kind, _, _ in found] == [name]
    assert around[found[0][1] : found[0][2]] in text
    assert safety.redact(around)[0].count(f"[{name}]") == 1


def test_every_kind_has_an_example():
    """No pattern is without a text that it finds."""
    assert set(FOUND) == {kind.name for kind in safety.KINDS}


ORDINARY = [
    "The order 1182 shipped on 2026-11-20 at 10:45 for 19.99 EUR.",
    "Version 3.11.0 of the sk-learn-like skeleton, sha 1f2a3b4c5d6e7f8090a1b2c3d4e5f607.",
    "Card 4111 1111 1111 1112 fails its check digit; 1234567890123456 too.",
    "Write to support@example.com or info@shop.example, or look at a@b.",
    "password: please choose one",
    "api_key=YOUR_API_KEY_GOES_HERE, or import sk-learn-is-a-nice-library-for-ml",
    "git clone git@github.com:acme/shop.git",
    "DE00 1234 5678 9012 3456 78 is no IBAN.",
    "call 555-1234 or extension 42; pi is 3.14159265358979",
    "https://example.com/path?x=1:2@3",
    "0000 0000 0000 0000",
    "My task-force asked for AKIA and ghp_ tokens in general.",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text):
    """Numbers, versions, dates, checksums and examples are no secrets."""
    assert safety.redact(text) == (text, 0)


def test_redaction_leaves_the_rest_of_the_text():
    """Only the found stretches change, each by itself."""
    text, times = safety.redact(f"a kari@nordmann.no b {FOUND['GitHub token']} c 4111111111111111")
    assert (text, times) == ("a [e-mail address] b [GitHub token] c [payment card]", 3)
