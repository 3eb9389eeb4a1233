"""Secrets and personal data in text: what `data check --safety` reports and `--redact` replaces.

Every kind has a cheap word that must occur (`anchor`) before its pattern is tried, so that
ordinary text costs a few substring searches. Found values are never shown or stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import log2
from typing import Literal

DIGITS = re.compile(r"\d{2}")
DIGIT = re.compile(r"\d")
"""What `YOUR_API_KEY_GOES_HERE` has not, and hardly a random key lacks."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of secret or personal data."""

    name: str
    group: Literal["secret", "personal"]
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    validate: str | None = None
    """`luhn`, `iban` or `entropy`: what a match must also pass."""
    mark: str = ""
    """A seldom character that all anchors have: a character is looked for ten times as fast as a word."""


_SELDOM = "@_JKG2A/:-x."


def _kind(name: str, group: Literal["secret", "personal"], anchors: str, pattern: str, validate: str | None = None) -> Kind:
    words = tuple(anchors.split())
    mark = next((one for one in _SELDOM if words and all(one in word for word in words)), "")
    return Kind(name, group, words, re.compile(pattern), validate, mark)


KINDS = (
    _kind("OpenAI or Anthropic key", "secret", "sk-", r"\bsk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]+-)?[A-Za-z0-9_-]{20,}", "entropy"),
    _kind("AWS access key", "secret", "AKIA ASIA", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    _kind(
        "GitHub token", "secret", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})"
    ),
    _kind("GitLab token", "secret", "glpat-", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    _kind("Hugging Face token", "secret", "hf_", r"\bhf_[A-Za-z0-9]{30,}"),
    _kind("Slack token", "secret", "xox", r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    _kind("Slack webhook", "secret", "hooks.slack.com", r"hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"),
    _kind("Google API key", "secret", "AIza", r"\bAIza[0-9A-Za-z_-]{35}"),
    _kind("Google OAuth token", "secret", "ya29.", r"\bya29\.[0-9A-Za-z_-]{20,}"),
    _kind("Stripe key", "secret", "sk_live_ rk_live_ sk_test_", r"\b[sr]k_(?:live|test)_[0-9A-Za-z]{16,}"),
    _kind("Groq key", "secret", "gsk_", r"\bgsk_[A-Za-z0-9]{40,}"),
    _kind("xAI key", "secret", "xai-", r"\bxai-[A-Za-z0-9]{40,}"),
    _kind("SendGrid key", "secret", "SG.", r"\bSG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{30,}"),
    _kind("npm token", "secret", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    _kind("package index token", "secret", "pypi-", r"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
    _kind("Twilio key", "secret", "SK", r"\bSK[0-9a-f]{32}\b"),
    _kind("Telegram bot token", "secret", ":AA", r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    _kind("JSON web token", "secret", "eyJ", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    _kind("private key", "secret", "PRIVATE", r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    _kind("password in a URL", "secret", "://", r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,64}:[^\s:/@]{3,64}@[A-Za-z0-9.-]+"),
    _kind(
        "assigned secret",
        "secret",
        "key token secret passw Key Token Secret Passw KEY TOKEN SECRET PASSW",
        r"(?i)\b(?:api[_-]?key|access[_-]?token|auth[_-]?token|client[_-]?secret|secret[_-]?key|password)[\"']?\s*[:=]\s*[\"']?([A-Za-z0-9/+_=.-]{16,})",
        "entropy",
    ),
    _kind("e-mail address", "personal", "@", r"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b", "mail"),
    _kind("IBAN", "personal", "", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", "iban"),
    _kind("payment card", "personal", "", r"(?<![\d.,-])(?:\d[ -]?){12,18}\d(?![\d.,-]?\d)", "luhn"),
    _kind(
        "phone number",
        "personal",
        "",
        r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?(?:\d{2,4}[ .-]?){2,4}\d{2,4}|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}-\d{3}-\d{4})(?![\w-])",
    ),
)
"""What is looked for, secrets first: a found stretch is not looked at again."""

_EXAMPLE_MAIL = re.compile(r"^git@|@(?:example\.(?:com|org|net)|(?:[\w-]+\.)*(?:example|test|invalid|localhost))$", re.IGNORECASE)


def find(text: str) -> Iterator[tuple[Kind, int, int]]:
    """Yield what looks secret or personal in a text, with its stretch."""
    has_digits = DIGITS.search(text) is not None
    taken: list[tuple[int, int]] = []
    for kind in KINDS:
        if kind.mark not in text or not (any(anchor in text for anchor in kind.anchors) if kind.anchors else has_digits):
            continue
        for match in kind.pattern.finditer(text):
            group = 1 if kind.pattern.groups else 0
            start, end = match.span(group)
            if any(start < other_end and other_start < end for other_start, other_end in taken):
                continue
            if _valid(kind, match.group(group)):
                taken.append((start, end))
                yield kind, start, end


def redact(text: str) -> tuple[str, int]:
    """Return the text with everything found replaced by `[e-mail address]` and the like, and how often."""
    found = sorted(find(text), key=lambda one: one[1])
    if not found:
        return text, 0
    pieces, position = [], 0
    for kind, start, end in found:
        pieces += [text[position:start], f"[{kind.name}]"]
        position = end
    return "".join([*pieces, text[position:]]), len(found)


def _valid(kind: Kind, text: str) -> bool:
    match kind.validate:
        case "luhn":
            return _luhn(re.sub(r"\D", "", text))
        case "iban":
            return _iban(text.replace(" ", ""))
        case "entropy":
            return _entropy(text) > 3 and DIGIT.search(text) is not None
        case "mail":
            return _EXAMPLE_MAIL.search(text) is None
        case _:
            return True


def _luhn(digits: str) -> bool:
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = (int(d) if i % 2 == 0 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    moved = text[4:] + text[:4]
    return 15 <= len(text) <= 34 and int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def _entropy(text: str) -> float:
    """Return bits per character: words have about two and a half, random keys more than four."""
    shares = [text.count(letter) / len(text) for letter in set(text)]
    return -sum(share * log2(share) for share in shares)
