"""What an edit did: probabilities of the target, of others' answers, and divergence on text that has nothing to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from larqldb.model.tokenizer import Tokenizer

    Floats = NDArray[np.float32]

AFTER = ". It"  # stands for what follows an answer
CONTINUED = 2  # wordings after whose answer the text goes on
ROWS = 64  # of residuals that go through the head at once
KEPT_BYTES = 32 << 20  # of log-probabilities on unrelated text: bounds the positions that are compared
UNRELATED = (
    "The old bridge over the river was closed for three weeks while workers replaced the wooden planks. Most people "
    "took the ferry instead, which left every half hour and cost two coins.",
    "def mean(values):\n    total = 0\n    for value in values:\n        total += value\n    return total / 2\n",
    "To make bread you need flour, water, salt and yeast. Knead the dough for ten minutes, let it rest until it has "
    "doubled in size, and bake it in a hot oven.",
    "She opened the letter slowly. \"They have decided,\" she said, \"that the concert will be moved to next Friday.\"",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Reading:
    """A network's answers. w wordings, t tokens of the target, n neighbours, s positions of unrelated text.

    ``target`` [w, t]: probability of each token after those before it; ``first`` [t]: whether it is the likeliest, in
    the canonical wording. ``neighbours`` [n, vocab] and ``unrelated`` [s, vocab] are log-probabilities, None where
    they were not asked for.
    """

    target: Floats
    first: NDArray[np.bool_]
    neighbours: Floats | None = None
    unrelated: Floats | None = None

    @property
    def probability(self) -> float:
        """Of the whole target in the canonical wording."""
        return float(self.target[0].prod())

    @property
    def paraphrase(self) -> float | None:
        """Of the whole target in the other wordings, the mean; None where there are none."""
        return float(self.target[1:].prod(axis=1).mean()) if len(self.target) > 1 else None

    @property
    def answers(self) -> bool:
        """Whether the whole target is what the network says in the canonical wording, taking the likeliest token."""
        return bool(self.first.all())


def chances(
    head: Callable[[Floats], Floats], residuals: Floats, tokens: Sequence[int] | NDArray[np.int64]
) -> tuple[Floats, NDArray[np.bool_]]:
    """One token's probability after each of the last layer's residuals [n, hidden], and whether it is the likeliest.

    ``tokens`` [n]; gives float32 [n] and [n].
    """
    probability, first = np.empty(len(residuals), np.float32), np.empty(len(residuals), np.bool_)
    for start in range(0, len(residuals), ROWS):
        part = slice(start, start + ROWS)
        logits, some = head(residuals[part]), np.asarray(tokens[part])
        first[part] = logits.argmax(axis=1) == some
        probability[part] = probabilities(logits, some)
    return probability, first


def probabilities(logits: Floats, tokens: NDArray[np.int64]) -> Floats:
    """One token's probability in each row of logits [n, vocab], by ``tokens`` [n]: float32 [n]."""
    shares = logits - logits.max(axis=1, keepdims=True)
    np.exp(shares, out=shares)
    return np.asarray(shares[np.arange(len(tokens)), tokens] / shares.sum(axis=1), np.float32)


def target_ids(tokenizer: Tokenizer, target: str) -> list[int]:
    """The tokens of a target that follows a wording."""
    return tokenizer.encode(f" {target}", special=False)


def answered(tokenizer: Tokenizer, prompts: Sequence[Sequence[int]], target: Sequence[int]) -> list[tuple[int, ...]]:
    """A fact's wordings with the target behind, and of some what follows: the texts that are read of it, once."""
    after = tokenizer.encode(AFTER, special=False)
    return [(*ids, *target, *(after if number < CONTINUED else ())) for number, ids in enumerate(prompts)]


def neighbourhood(before: Reading, after: Reading) -> float | None:
    """The most that the probability of a neighbour's answer has changed; None without neighbours."""
    if before.neighbours is None or after.neighbours is None:
        return None
    answers = before.neighbours.argmax(axis=1)[:, None]
    change = np.exp(np.take_along_axis(after.neighbours, answers, 1)) - np.exp(
        np.take_along_axis(before.neighbours, answers, 1)
    )
    return float(np.abs(change).max())


def most_changed(before: Reading, after: Reading, prompts: Sequence[str]) -> str:
    """The neighbour's prompt whose answer changed most."""
    assert before.neighbours is not None
    assert after.neighbours is not None
    answers = before.neighbours.argmax(axis=1)[:, None]
    was = np.exp(np.take_along_axis(before.neighbours, answers, 1))
    now = np.exp(np.take_along_axis(after.neighbours, answers, 1))
    return prompts[int(np.abs(now - was).argmax())]


def divergence(before: Reading, after: Reading) -> float | None:
    """KL(before ‖ after) on unrelated text in nats, the mean over its positions."""
    if before.unrelated is None or after.unrelated is None:
        return None
    changed = np.any(before.unrelated != after.unrelated, axis=1)
    true = before.unrelated[changed].astype(np.float64)
    return max(0.0, float(np.sum(np.exp(true) * (true - after.unrelated[changed]))) / len(changed))
