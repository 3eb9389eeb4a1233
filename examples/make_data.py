"""Write the example datasets: synthetic support tickets and style-transfer pairs, from phrases and a seed.

    python examples/make_data.py

Every row is invented. Tickets carry typos, chatter and rare phrasings on purpose, so that
models of different sizes differ; running the script again writes the same bytes.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

HERE = Path(__file__).parent / "specs" / "data"

SYSTEM = "Classify the support ticket. Answer with one label."

TICKETS = {
    "billing": [
        "why was i charged twice this month", "the invoice shows an amount i do not recognise", "my card was billed after the trial ended",
        "can you send the receipt for march", "vat is missing on the last invoice", "the price on my bill went up without notice",
        "please change the billing address on our invoices", "payment failed but the money left my account",
        "we need a purchase order number on the bill", "two charges of 49 on the same day", "which plan am i paying for right now",
        "finance asks for an itemised statement",
    ],
    "refund": [
        "i want my money back for the broken order", "how long does a refund take", "the refund has not arrived yet",
        "i returned the shoes last week and got nothing", "please reverse the payment for the cancelled booking",
        "can i get a partial refund for the missing item", "store credit is not what i asked for, i want a refund",
        "you promised to reimburse me", "the bank says no refund was ever sent", "returned it unopened, when do i get paid back",
        "i would like compensation for the damaged lamp", "money back guarantee, how do i use it",
    ],
    "login": [
        "i cannot sign in since yesterday", "the password reset mail never arrives", "my account is locked after three tries",
        "the code from the authenticator app is rejected", "it says wrong password but i just changed it",
        "sso sends me back to the login page in a loop", "how do i turn off two factor, i lost my phone",
        "the magic link has expired before i can click it", "login works on my laptop but not on my phone",
        "i am locked out and need access today", "it keeps asking me to verify my e-mail", "session ends every five minutes and i must sign in again",
    ],
    "bug": [
        "the app crashes when i open settings", "the export button does nothing", "the chart shows negative numbers for every day",
        "an error 500 appears when saving", "the page stays blank in the new version", "sorting by date gives a random order",
        "uploads stop at 99 percent", "the dark theme hides the text of the menu", "search finds nothing although the item exists",
        "notifications come three times for one message", "the calendar is off by one hour since sunday", "copy and paste deletes the whole paragraph",
    ],
    "shipping": [
        "where is my parcel", "the tracking number does not work", "the delivery went to my old address",
        "the box arrived open and wet", "the courier says nobody was at home but i was", "how much is express delivery to norway",
        "my order is stuck in customs", "only half of the order was in the package", "can i pick the parcel up myself",
        "it was due on tuesday and still is not here", "please deliver to the neighbour", "the driver left it in the rain",
    ],
    "cancel": [
        "please cancel my subscription", "i want to end the contract at the end of the month", "stop the automatic renewal",
        "how do i close my membership", "we do not need the service any more", "cancel order 1182 before it goes out",
        "i tried to unsubscribe but the plan is still active", "terminate the trial before it turns into a paid plan",
        "this is my notice of cancellation", "take me off the yearly plan", "i no longer wish to continue", "end my plan today",
    ],
    "feature": [
        "it would be great to have a dark mode", "please add export to excel", "can you support two languages at once",
        "a keyboard shortcut for archive would help", "do you plan an android version", "we wish for an api to read the reports",
        "let us assign a ticket to two people", "could the table remember my column widths", "an offline mode would be wonderful for trains",
        "any chance of a calendar view", "i am missing a way to undo", "suggestion: let users pin their favourite boards",
    ],
    "account": [
        "how do i change my e-mail address", "please merge my two accounts", "i want to download all my personal data",
        "my name is spelled wrong in the profile", "add a colleague as an administrator", "transfer the workspace to a new owner",
        "delete my profile and all data", "i need to update our company name", "how do i switch my username",
        "remove a former employee from the team", "can i change the time zone of my profile", "move my projects to another workspace",
    ],
}  # fmt: skip

RARE = {
    "billing": ["your debit gremlins nibbled my card again", "ledger looks off by a tenner", "who authorised this direct debit"],
    "refund": ["kindly return the dosh", "make me whole again, please", "recoup what i spent on that dud"],
    "login": ["the front door of your site hates me", "credentials bounce, no idea why", "captcha thinks i am a toaster"],
    "bug": ["spinner of eternal doom on the dashboard", "it goes kaput the second i hit print", "gremlins ate the footer"],
    "shipping": ["my package is touring europe without me", "courier ghosted me", "carton looked like a bear sat on it"],
    "cancel": ["we are parting ways, shut it down", "pull the plug on my membership", "time to say goodbye to the pro tier"],
    "feature": ["a little bird told me you take ideas: bulk edit", "my kingdom for a gantt view", "imagine if filters could be saved"],
    "account": ["got married, new surname", "hand my login's keys over to sam", "purge every trace of me from your servers"],
}

BEFORE = [
    "hi",
    "hello team",
    "good morning",
    "hey there",
    "urgent",
    "dear support",
    "second time i write",
    "sorry to bother you",
    "hi all",
    "quick one",
]
AFTER = [
    "thanks", "please help", "i have been a customer since 2019", "my boss is waiting", "this is the third time", "kind regards, kim",
    "sent from my phone", "i already restarted everything", "no hurry", "greetings from oslo", "can somebody look at it", "very disappointed",
]  # fmt: skip
CHATTER = [
    "i love the new logo by the way", "we moved offices last week", "your chat bot sent me here", "i read the help pages first",
    "the weather here is awful", "my colleague has the same question", "it worked fine before the holidays", "i am on the pro plan",
]  # fmt: skip


def typo(text: str, rng: random.Random) -> str:
    """Return the text with one slip of the fingers: a swap, a drop, a double or a missing space."""
    at = [i for i in range(1, len(text) - 2) if text[i].isalpha() and text[i + 1].isalpha()]
    if not at:
        return text
    i = rng.choice(at)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    if kind == 1:
        return text[:i] + text[i + 1 :]
    if kind == 2:
        return text[:i] + text[i] + text[i:]
    space = text.find(" ", i)
    return text if space < 0 else text[:space] + text[space + 1 :]


def ticket(label: str, rng: random.Random) -> str:
    """Return one invented ticket."""
    core = rng.choice(RARE[label]) if rng.random() < 0.12 else rng.choice(TICKETS[label])
    parts = [core]
    if rng.random() < 0.5:
        parts.insert(0, rng.choice(BEFORE))
    if rng.random() < 0.4:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(CHATTER))
    if rng.random() < 0.5:
        parts.append(rng.choice(AFTER))
    text = ". ".join(parts)
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        text = typo(text, rng)
    return text if rng.random() < 0.7 else text[:1].upper() + text[1:] + rng.choice(["", "!", "?", "."])


def chat(system: str, user: str, assistant: str) -> dict[str, object]:
    """Return a chat row."""
    return {
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": user},
            {"role": "assistant", "content": assistant},
        ]
    }


def tickets(count: int, rng: random.Random) -> list[dict[str, object]]:
    """Return that many different tickets, labels in random order."""
    rows: dict[str, dict[str, object]] = {}
    labels = sorted(TICKETS)
    while len(rows) < count:
        label = rng.choice(labels)
        text = ticket(label, rng)
        rows.setdefault(text.lower(), chat(SYSTEM, text, label))
    return list(rows.values())


def mislabelled(rows: list[dict[str, object]], share: float, rng: random.Random) -> list[dict[str, object]]:
    """Return tickets of which about `share` carry a wrong label: something to memorise, nothing to learn."""
    found = []
    for row in rows:
        system, user, assistant = (turn["content"] for turn in row["messages"])
        wrong = sorted(TICKETS.keys() - {assistant})
        found.append(chat(system, user, rng.choice(wrong) if rng.random() < share else assistant))
    return found


SUBJECTS = [
    "the captain",
    "my friend",
    "the doctor",
    "our teacher",
    "the cook",
    "a stranger",
    "my sister",
    "the old man",
    "the girl",
    "your dog",
]
VERBS = [
    "is looking for",
    "has lost",
    "wants to buy",
    "will sell",
    "is hiding",
    "found",
    "does not like",
    "is cleaning",
    "has stolen",
    "talks about",
]
OBJECTS = [
    "the map",
    "a small boat",
    "the money",
    "some food",
    "a new hat",
    "the keys",
    "his house",
    "the letter",
    "a bottle of wine",
    "the treasure",
]
TAILS = [
    "today",
    "in the morning",
    "before dinner",
    "near the harbour",
    "with great care",
    "again",
    "for the children",
    "after the storm",
    "",
    "",
]
PIRATE = {
    "my": "me", "friend": "matey", "is": "be", "has": "be havin'", "the": "th'", "money": "doubloons", "food": "grub", "house": "ship",
    "wine": "grog", "dinner": "mess", "children": "young scallywags", "girl": "lass", "man": "sea dog", "stranger": "landlubber",
    "your": "yer", "doctor": "sawbones", "teacher": "old salt", "for": "fer", "of": "o'", "boat": "sloop", "dog": "sea hound",
}  # fmt: skip


def pirate(sentence: str) -> str:
    """Return the sentence as a pirate would say it."""
    return "arr, " + " ".join(PIRATE.get(word, word) for word in sentence.split())


def sentences(count: int, rng: random.Random) -> list[str]:
    """Return that many different plain sentences."""
    found: dict[str, None] = {}
    while len(found) < count:
        found.setdefault(
            " ".join(part for part in (rng.choice(SUBJECTS), rng.choice(VERBS), rng.choice(OBJECTS), rng.choice(TAILS)) if part)
        )
    return list(found)


STYLE = "Say it like a pirate."


def write(name: str, rows: list[dict[str, object]]) -> None:
    """Write rows as JSONL."""
    HERE.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (HERE / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write all files."""
    rng = random.Random(20261120)  # noqa: S311 invented data
    write("tickets.jsonl", tickets(400, rng))
    plain = sentences(420, rng)
    write("pirate.jsonl", [chat(STYLE, text, pirate(text)) for text in plain[:300]])
    preferences = []
    for text in plain[300:]:
        turn = [{"role": "system", "content": STYLE}, {"role": "user", "content": text}]
        good, bad = pirate(text), rng.choice([text, "i would rather not", "ahoy"])
        preferences.append(
            {
                "input": {"messages": turn},
                "preferred_output": [{"role": "assistant", "content": good}],
                "non_preferred_output": [{"role": "assistant", "content": bad}],
            }
        )
    write("pirate-preferences.jsonl", preferences)
    noise = random.Random(20261121)  # noqa: S311 invented data
    write("tickets-noisy.jsonl", mislabelled(tickets(160, noise), 0.3, noise))


if __name__ == "__main__":
    main()
