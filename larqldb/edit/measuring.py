"""What an edit did: probabilities of the target, of others' answers, and divergence on text that has nothing to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.model.observe import log_probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.edit.asking import Asking
    from larqldb.model.runner import Runner
    from larqldb.model.tokenizer import Tokenizer

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

    target: NDArray[np.float64]
    first: NDArray[np.bool_]
    neighbours: NDArray[np.float32] | None = None
    unrelated: NDArray[np.float32] | None = None

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


class Measuring:
    """Reads networks over one tokenizer; what does not depend on the fact is kept for the network read last."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._kept: tuple[Runner, dict[tuple[str, ...], NDArray[np.float32]]] | None = None

    def read(self, runner: Runner, asking: Asking, target: str, *, others: bool) -> Reading:
        """What a network says; ``others``: to neighbours and unrelated text, too. Raises BadPrompt."""
        encode = self._tokenizer.encode
        wanted = target_ids(self._tokenizer, target)
        prompts = [encode(text) for text in asking.prompts]
        texts = [[*ids, *wanted[:step]] for ids in prompts for step in range(len(wanted))]
        logs = log_probabilities(runner.batch(texts)).reshape(len(prompts), len(wanted), -1)
        steps = np.arange(len(wanted))
        target_logs = logs[:, steps, wanted]
        first = logs[0].argmax(axis=-1) == np.array(wanted)
        if not others:
            return Reading(np.exp(target_logs), first)
        neighbours = self._of(runner, asking.neighbours) if asking.neighbours else None
        return Reading(np.exp(target_logs), first, neighbours, self._of(runner, ()))

    def unrelated(self, runner: Runner) -> Reading:
        """What a network says of unrelated text alone."""
        return Reading(np.empty((1, 0)), np.empty(0, np.bool_), None, self._of(runner, ()))

    def _of(self, runner: Runner, prompts: tuple[str, ...]) -> NDArray[np.float32]:
        """Log-probabilities after prompts [n, vocab], or at places in unrelated text where there are none."""
        if self._kept is None or self._kept[0] is not runner:
            self._kept = runner, {}
        known = self._kept[1]
        if prompts not in known:
            logits = runner.batch([self._tokenizer.encode(text) for text in prompts]) if prompts else self._text(runner)
            known[prompts] = log_probabilities(logits).astype(np.float32)
        return known[prompts]

    def _text(self, runner: Runner) -> NDArray[np.float32]:
        """Logits at places of the unrelated texts: float32 [s, vocab]."""
        room = max(1, KEPT_BYTES // (4 * runner.network.vocab * len(UNRELATED)))
        parts = []
        for text in UNRELATED:
            logits = runner.all_logits(self._tokenizer.encode(text)[: runner.network.context])
            parts.append(logits[1:][:: max(1, -(-len(logits) // room))])
        return np.concatenate(parts)


def target_ids(tokenizer: Tokenizer, target: str) -> list[int]:
    """The tokens of a target that follows a wording."""
    return tokenizer.encode(f" {target}", special=False)


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
    true = before.unrelated.astype(np.float64)
    return float(np.mean(np.sum(np.exp(true) * (true - after.unrelated), axis=1)))
