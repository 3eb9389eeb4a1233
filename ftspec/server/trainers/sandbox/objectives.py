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
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np  # noqa: TID253 loaded only when something is trained or asked

from ftspec.diagnostics import FtspecError
from ftspec.server.graders import sample_of
from ftspec.server.trainers.sandbox.bases import samples
from ftspec.server.trainers.sandbox.features import Context, prompt_of
from ftspec.server.trainers.sandbox.network import Learner, Network, Steps
from ftspec.server.trainers.sandbox.transducer import Walk, align
from ftspec.server.trainers.sandbox.words import count, pieces
from ftspec.server.trainers.sandbox.writing import write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ftspec.server.trainers.base import Grade
    from ftspec.server.trainers.sandbox.rows import Reply, Row, Task

Figures = dict[str, float]
_REPLY_WORDS = 256
_MINIBATCH = 8
_KEPT_FEATURES = 10_000_000
"""How many features of prepared steps are kept (8 bytes each); what is beyond is prepared again each time."""


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


class _Spelled:
    """Replies as steps of one network's actions, made when they are needed and kept while there is room."""

    def __init__(self, replies: Sequence[Reply], actions: Sequence[Sequence[int | str]], network: Network) -> None:
        self._replies = replies
        self._actions = actions
        self._network = network
        self._kept: dict[int, Steps] = {}
        self._room = _KEPT_FEATURES

    def __len__(self) -> int:
        return len(self._replies)

    def __getitem__(self, place: int) -> Steps:
        if place in self._kept:
            return self._kept[place]
        steps = self._spell(Context(self._replies[place].context), self._actions[place])
        if self._room > 0:
            self._room -= len(steps.buckets)
            self._kept[place] = steps
        return steps

    def _spell(self, context: Context, actions: Sequence[int | str]) -> Steps:
        walk = Walk(context.prompt)
        views, at_end, numbers = [], [], []
        for action in actions:
            number = action if isinstance(action, int) else self._network.index.get(action, -1)
            views.append(context.view(walk))
            at_end.append(walk.at_end)
            numbers.append(number)
            walk.take(number, action if isinstance(action, str) else "")
        return Steps.of(views, at_end, numbers)


def _spelled(start: Network, replies: Sequence[Reply], unseen: Sequence[Reply], *, seed: int) -> tuple[Network, _Spelled, _Spelled]:
    """Return a copy of `start` that has the words to write `replies`, these as steps, and as such those that are only judged."""
    often = Counter(word for reply in replies for word in set(pieces(reply.text)))
    enough = max(3, 0.02 * len(replies))

    def common(word: str) -> bool:
        return often[word] >= enough or word in start.index

    def actions(reply: Reply) -> list[int | str]:
        return align(prompt_of(reply.context), pieces(reply.text), common=common)

    learned = [actions(reply) for reply in replies]
    network = start.with_words({action for row in learned for action in row if isinstance(action, str)}, seed=seed)
    return network, _Spelled(replies, learned, network), _Spelled(unseen, [actions(reply) for reply in unseen], network)


def _few(rows: Sequence[Any], step: int | None) -> Sequence[Any]:
    """Return all rows, or the few that are this step's turn."""
    if step is None or len(rows) <= _MINIBATCH:
        return rows
    start = step * _MINIBATCH % len(rows)
    return [rows[(start + i) % len(rows)] for i in range(_MINIBATCH)]


def _tokens(rows: Sequence[Row]) -> list[int]:
    return [count(row.texts) for row in rows]


def _places(rows: Sequence[Row]) -> list[range]:
    """Return where the replies of each row stand among the replies of all."""
    ends = list(accumulate((len(row.replies) for row in rows), initial=0))
    return [range(start, end) for start, end in pairwise(ends)]


def _sides(rows: Sequence[Row]) -> list[Reply]:
    """Return both sides of each pair, the preferred one first."""
    return [side for row in rows if row.pair for side in (row.pair.preferred, row.pair.other)]


class Supervised:
    """Raises the probability of the replies in the rows."""

    def __init__(self, start: Network, rows: Sequence[Row], validation: Sequence[Row], *, seed: int) -> None:
        replies, unseen = ([reply for row in part for reply in row.replies] for part in (rows, validation))
        network, self._steps, self._unseen = _spelled(start, replies, unseen, seed=seed)
        self._places = _places(rows)
        self._row_tokens, self._tokens = _tokens(rows), 0
        self.learner = Learner(network)
        self.size = len(rows)

    def learn(self, batch: Sequence[int], *, rate: float) -> Figures:
        """Learn the replies of some rows."""
        steps = Steps.join([self._steps[place] for i in batch for place in self._places[i]])
        self._tokens += sum(self._row_tokens[i] for i in batch)
        right, hits = self.learner.learn(steps, np.full(len(steps), 1 / len(steps), dtype=np.float32), rate=rate)
        return {"train_loss": -float(right.mean()), "train_mean_token_accuracy": float(hits.mean())}

    def validate(self, *, step: int | None) -> Figures:
        """Return loss and accuracy on validation rows."""
        places = _few(range(len(self._unseen)), step)
        if not places:
            return {}
        judged = [self.learner.network.judge(self._unseen[place]) for place in places]
        steps = sum(len(right) for right, _ in judged)
        loss = -sum(float(right.sum(dtype=np.float64)) for right, _ in judged) / steps
        accuracy = sum(int(hits.sum()) for _, hits in judged) / steps
        prefix = "full_valid" if step is None else "valid"
        return {f"{prefix}_loss": loss, f"{prefix}_mean_token_accuracy": accuracy}

    def tokens(self) -> int:
        """Return the tokens of all messages, each time they were shown."""
        return self._tokens


class Preference:
    """DPO: raises how much likelier the preferred reply is than the other, measured against the model it started from."""

    def __init__(self, start: Network, rows: Sequence[Row], validation: Sequence[Row], *, seed: int, beta: float) -> None:
        network, self._steps, self._unseen = _spelled(start, _sides(rows), _sides(validation), seed=seed)
        self.learner = Learner(network)
        for place in range(len(self._steps)):
            self.learner.know(self._steps[place].buckets)
        self.size, self._beta = len(rows), beta
        self._reference = [self._margin(self._steps, i) for i in range(self.size)]
        self._unseen_reference = [self._margin(self._unseen, i) for i in range(len(validation))]
        self._row_tokens, self._tokens = _tokens(rows), 0

    def _margin(self, steps: _Spelled, pair: int) -> float:
        """Return how much likelier the preferred side of a pair is: its sides stand one after the other."""
        preferred, other = (float(self.learner.network.judge(steps[2 * pair + side])[0].sum(dtype=np.float64)) for side in (0, 1))
        return preferred - other

    def learn(self, batch: Sequence[int], *, rate: float) -> Figures:
        """Learn which of two replies is better."""
        self._tokens += sum(self._row_tokens[i] for i in batch)
        margins = [self._beta * (self._margin(self._steps, i) - self._reference[i]) for i in batch]
        parts, importance = [], []
        for i, margin in zip(batch, margins, strict=True):
            pull = self._beta * _sigmoid(-margin) / len(batch)
            for side, sign in enumerate((1.0, -1.0)):
                parts.append(self._steps[2 * i + side])
                importance.append(np.full(len(parts[-1]), sign * pull, dtype=np.float32))
        self.learner.learn(Steps.join(parts), np.concatenate(importance), rate=rate)
        return _preference_figures("train", margins)

    def validate(self, *, step: int | None) -> Figures:
        """Return loss and preferred rate on validation pairs."""
        pairs = _few(range(len(self._unseen_reference)), step)
        if not pairs:
            return {}
        margins = [self._beta * (self._margin(self._unseen, i) - self._unseen_reference[i]) for i in pairs]
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
        self._contexts: dict[int, tuple[Context, int]] = {}
        self._tokens = self._graded = self._ungraded = 0

    def _context(self, task: Task) -> tuple[Context, int]:
        """Return what a reply sees of a prompt, and how many tokens the prompt has."""
        if id(task) not in self._contexts:
            self._contexts[id(task)] = Context(task.context), count(message["content"] for message in task.context)
        return self._contexts[id(task)]

    def _try(self, task: Task) -> tuple[Steps, float]:
        """Return the steps of a drawn reply and its reward."""
        context, tokens = self._context(task)
        actions = list(write(self.learner.network, context, temperature=1.0, top_p=1.0, chance=self._chance, limit=_REPLY_WORDS))
        text = "".join(action.text for action in actions)
        reward = self._reward(text, task)
        self._tokens += tokens + len(actions)
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
