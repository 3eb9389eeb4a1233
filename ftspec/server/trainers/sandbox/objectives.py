"""What a job learns from its rows: replies (supervised), preferences (DPO), rewards (reinforcement).

An objective prepares its rows once, learns from a batch of them, and judges validation rows.
Every figure it returns has the name under which clients see it; absent means not measured.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np  # noqa: TID253 loaded only when something is trained or asked

from ftspec.diagnostics import FtspecError
from ftspec.server.graders import sample_of
from ftspec.server.trainers.sandbox.bases import samples
from ftspec.server.trainers.sandbox.features import Context
from ftspec.server.trainers.sandbox.network import Learner, Network, Steps
from ftspec.server.trainers.sandbox.transducer import Walk, align
from ftspec.server.trainers.sandbox.words import pieces
from ftspec.server.trainers.sandbox.writing import write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ftspec.server.trainers.base import Grade
    from ftspec.server.trainers.sandbox.rows import Reply, Row, Task

Figures = dict[str, float]
_REPLY_WORDS = 256
_MINIBATCH = 8


class Objective(Protocol):
    """What training needs of a method."""

    learner: Learner
    size: int

    def learn(self, batch: Sequence[int], *, rate: float) -> Figures:
        """Learn from some rows."""
        ...

    def validate(self, *, step: int | None) -> Figures:
        """Judge the validation rows: a few of them that change with the step, or (`None`) all."""
        ...

    def tokens(self) -> int:
        """Return how many tokens were trained on so far."""
        ...


class _Speller:
    """Turns replies into steps of one network's actions."""

    def __init__(self, start: Network, replies: Sequence[Reply], *, seed: int) -> None:
        texts = [pieces(reply.text) for reply in replies]
        often = Counter(word for words in texts for word in set(words))
        self._common: Callable[[str], bool] = lambda word: often[word] >= max(3, 0.02 * len(texts)) or word in start.index
        self._contexts: dict[int, Context] = {}
        aligned = [self._align(reply) for reply in replies]
        words = {action for actions in aligned for action in actions if isinstance(action, str)}
        self.network = start.with_words(words, seed=seed)
        self.steps = [self._spell(reply, actions) for reply, actions in zip(replies, aligned, strict=True)]
        if self.steps:
            self.network.know(np.unique(np.concatenate([steps.buckets for steps in self.steps])))

    def spell(self, reply: Reply) -> Steps:
        """Return the steps of a reply that is not learned from."""
        return self._spell(reply, self._align(reply))

    def _context(self, reply: Reply) -> Context:
        key = id(reply.context)
        if key not in self._contexts:
            self._contexts[key] = Context(reply.context)
        return self._contexts[key]

    def _align(self, reply: Reply) -> list[int | str]:
        return align(self._context(reply).prompt, pieces(reply.text), common=self._common)

    def _spell(self, reply: Reply, actions: Sequence[int | str]) -> Steps:
        context, vocabulary = self._context(reply), self.network.vocabulary
        walk = Walk(context.prompt)
        views, at_end, numbers = [], [], []
        for action in actions:
            number = action if isinstance(action, int) else self.network.index.get(action, -1)
            views.append(context.view(walk))
            at_end.append(walk.at_end)
            numbers.append(number)
            walk.take(number, action if isinstance(action, str) else vocabulary[number])
        return Steps.of(views, at_end, numbers)


def _few(rows: Sequence[Any], step: int | None) -> Sequence[Any]:
    """Return all rows, or the few that are this step's turn."""
    if step is None or len(rows) <= _MINIBATCH:
        return rows
    start = step * _MINIBATCH % len(rows)
    return [rows[(start + i) % len(rows)] for i in range(_MINIBATCH)]


def _tokens(rows: Sequence[Row]) -> list[int]:
    return [sum(len(pieces(text)) for text in row.texts) for row in rows]


class Supervised:
    """Raises the probability of the replies in the rows."""

    def __init__(self, start: Network, rows: Sequence[Row], validation: Sequence[Row], *, seed: int) -> None:
        speller = _Speller(start, [reply for row in rows for reply in row.replies], seed=seed)
        steps = iter(speller.steps)
        self._rows = [Steps.join([next(steps) for _ in row.replies]) for row in rows]
        self._validation = [Steps.join([speller.spell(reply) for reply in row.replies]) for row in validation]
        self._row_tokens, self._tokens = _tokens(rows), 0
        self.learner = Learner(speller.network)
        self.size = len(rows)

    def learn(self, batch: Sequence[int], *, rate: float) -> Figures:
        """Learn the replies of some rows."""
        steps = Steps.join([self._rows[i] for i in batch])
        self._tokens += sum(self._row_tokens[i] for i in batch)
        right, hits = self.learner.learn(steps, np.full(len(steps), 1 / len(steps), dtype=np.float32), rate=rate)
        return {"train_loss": -float(right.mean()), "train_mean_token_accuracy": float(hits.mean())}

    def validate(self, *, step: int | None) -> Figures:
        """Return loss and accuracy on validation rows."""
        rows = _few(self._validation, step)
        if not rows:
            return {}
        right, hits = self.learner.network.judge(Steps.join(rows))
        prefix = "full_valid" if step is None else "valid"
        return {f"{prefix}_loss": -float(right.mean()), f"{prefix}_mean_token_accuracy": float(hits.mean())}

    def tokens(self) -> int:
        """Return the tokens of all messages, each time they were shown."""
        return self._tokens


class Preference:
    """DPO: raises how much likelier the preferred reply is than the other, measured against the model it started from."""

    def __init__(self, start: Network, rows: Sequence[Row], validation: Sequence[Row], *, seed: int, beta: float) -> None:
        sides = [side for row in rows if row.pair for side in (row.pair.preferred, row.pair.other)]
        speller = _Speller(start, sides, seed=seed)
        self._pairs = list(zip(speller.steps[::2], speller.steps[1::2], strict=True))
        pairs = [row.pair for row in validation if row.pair]
        self._validation = [(speller.spell(pair.preferred), speller.spell(pair.other)) for pair in pairs]
        self.learner = Learner(speller.network)
        self.size, self._beta = len(self._pairs), beta
        self._reference = [self._margin(pair) for pair in self._pairs]
        self._validation_reference = [self._margin(pair) for pair in self._validation]
        self._row_tokens, self._tokens = _tokens(rows), 0

    def _margin(self, pair: tuple[Steps, Steps]) -> float:
        preferred, other = (float(self.learner.network.judge(side)[0].sum(dtype=np.float64)) for side in pair)
        return preferred - other

    def learn(self, batch: Sequence[int], *, rate: float) -> Figures:
        """Learn which of two replies is better."""
        self._tokens += sum(self._row_tokens[i] for i in batch)
        margins = [self._beta * (self._margin(self._pairs[i]) - self._reference[i]) for i in batch]
        parts, importance = [], []
        for i, margin in zip(batch, margins, strict=True):
            pull = self._beta * _sigmoid(-margin) / len(batch)
            for side, sign in zip(self._pairs[i], (1.0, -1.0), strict=True):
                parts.append(side)
                importance.append(np.full(len(side), sign * pull, dtype=np.float32))
        self.learner.learn(Steps.join(parts), np.concatenate(importance), rate=rate)
        return _preference_figures("train", margins)

    def validate(self, *, step: int | None) -> Figures:
        """Return loss and preferred rate on validation pairs."""
        rows = _few(list(zip(self._validation, self._validation_reference, strict=True)), step)
        if not rows:
            return {}
        margins = [self._beta * (self._margin(pair) - reference) for pair, reference in rows]
        return _preference_figures("full_valid" if step is None else "valid", margins)

    def tokens(self) -> int:
        """Return the tokens of all messages, each time they were shown."""
        return self._tokens


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _preference_figures(prefix: str, margins: Sequence[float]) -> Figures:
    losses = [math.log1p(math.exp(-abs(m))) + max(-m, 0.0) for m in margins]
    return {
        f"{prefix}_loss": sum(losses) / len(losses),
        f"{prefix}_reward_accuracy": sum(m > 0 for m in margins) / len(margins),
        f"{prefix}_reward_margin": sum(margins) / len(margins),
    }


_ITEM = re.compile(r"item\.(\w+)")


class Reinforcement:
    """Tries several replies to each prompt and raises those that the grader likes better than the average.

    A reply that cannot be graded (a template wants JSON, say) has no reward; a grader that can
    grade none of the first batch is taken to be wrong (`ValueError`).
    """

    def __init__(
        self,
        start: Network,
        rows: Sequence[Row],
        validation: Sequence[Row],
        *,
        seed: int,
        settings: Mapping[str, Any],
        grader: Mapping[str, Any],
        grade: Grade,
    ) -> None:
        self._tasks = [row.task for row in rows if row.task]
        self._validation = [row.task for row in validation if row.task]
        named = set(_ITEM.findall(json.dumps(dict(grader))))
        texts = [str(task.item[name]) for task in self._tasks for name in sorted(named & set(task.item))]
        self.learner = Learner(start.with_words({word for text in texts for word in pieces(text)}, seed=seed))
        self.size = len(self._tasks)
        self._chance = random.Random(f"reinforcement {seed}")  # noqa: S311 a reproducible draw
        self._samples, self._eval_samples = samples(settings["compute_multiplier"]), settings["eval_samples"]
        self._grader, self._grade = grader, grade
        self._patience = min(settings["batch_size"], self.size)
        self._contexts: dict[int, Context] = {}
        self._tokens = self._graded = self._ungraded = 0

    def _context(self, task: Task) -> Context:
        if id(task) not in self._contexts:
            self._contexts[id(task)] = Context(task.context)
        return self._contexts[id(task)]

    def _try(self, task: Task) -> tuple[Steps, float]:
        """Return the steps of a drawn reply and its reward."""
        context = self._context(task)
        actions = list(write(self.learner.network, context, temperature=1.0, top_p=1.0, chance=self._chance, limit=_REPLY_WORDS))
        text = "".join(action.text for action in actions)
        reward = self._reward(text, task)
        self._tokens += context.tokens + len(actions)
        return Steps.of([a.view for a in actions], [a.at_end for a in actions], [a.action for a in actions]), reward

    def _reward(self, text: str, task: Task) -> float:
        try:
            reward = float(self._grade(self._grader, sample_of(text), task.item))
        except (ValueError, FtspecError):
            self._ungraded += 1
            if not self._graded and self._ungraded >= self._samples * self._patience:
                raise
            return 0.0
        self._graded += 1
        return reward

    def learn(self, batch: Sequence[int], *, rate: float) -> Figures:
        """Try replies to some prompts and learn from their rewards."""
        parts, importance, rewards = [], [], []
        for i in batch:
            tries = [self._try(self._tasks[i]) for _ in range(self._samples)]
            mean = sum(reward for _, reward in tries) / len(tries)
            rewards.append(mean)
            for steps, reward in tries:
                parts.append(steps)
                importance.append(np.full(len(steps), (reward - mean) / (len(tries) * len(batch)), dtype=np.float32))
        steps, pull = Steps.join(parts), np.concatenate(importance)
        self.learner.know(np.unique(steps.buckets))
        right, _ = self.learner.learn(steps, pull, rate=rate)
        return {"train_loss": -float((right * pull).sum()), "train_mean_reward": sum(rewards) / len(rewards)}

    def validate(self, *, step: int | None) -> Figures:
        """Return the mean reward on validation prompts."""
        tasks = _few(self._validation, step)
        if not tasks:
            return {}
        before = self._tokens
        rewards = [self._try(task)[1] for task in tasks for _ in range(self._eval_samples)]
        self._tokens = before
        return {f"{'full_valid' if step is None else 'valid'}_mean_reward": sum(rewards) / len(rewards)}

    def tokens(self) -> int:
        """Return the tokens of prompts and tried replies."""
        return self._tokens
