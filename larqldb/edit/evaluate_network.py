"""What a network says, for measuring edits: answers gone on with greedily, answers that stay, divergence on texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.answers import ANY_ARTICLE, finished, key
from larqldb.knowledge.together import Together
from larqldb.model.observe import log_probabilities

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from larqldb.model.runner import Runner
    from larqldb.model.tokenizer import Tokenizer

    Floats = NDArray[np.float32]

TOGETHER = 32  # texts of a run
AFTERWARDS = 5  # tokens after an answer, in which it must end
LONGEST = 12  # tokens of other answers
BEGINNING = ' "“«*(['  # may stand before an answer
MEMORY = 256 << 20  # bytes of log-probabilities that are kept


@dataclass(frozen=True, eq=False)
class Divergence:
    """KL(base ‖ edited) over positions of texts, in nats, and how many there were."""

    mean: float
    most: float
    positions: int


class Network:
    """One state of a network."""

    def __init__(self, runner: Runner, tokenizer: Tokenizer, end_of_text: Collection[int]) -> None:
        self.runner, self.tokenizer, self._end_of_text = runner, tokenizer, end_of_text

    def answers(self, prompts: Sequence[str], tokens: int = LONGEST) -> list[str]:
        """What follows each prompt, taking the likeliest token ``tokens`` times, up to the end of the text or a line.

        Prompts run together in the order given, so that states of one network are asked alike.
        """
        together = Together(self.runner)
        parts = (prompts[first : first + TOGETHER] for first in range(0, len(prompts), TOGETHER))
        return [text for some in parts for text in self._go_on(together, some, tokens)]

    def _go_on(self, together: Together, prompts: Sequence[str], tokens: int) -> list[str]:
        texts = together.begin(())
        made: list[list[int]] = [[] for _ in prompts]
        said = ["" for _ in prompts]
        step: dict[int, list[int]] = {number: self.tokenizer.encode(text) for number, text in enumerate(prompts)}
        for _ in range(tokens):
            logits, _ = texts.read(dict(step))
            following: dict[int, list[int]] = {}
            for number, token in zip(step, logits.argmax(axis=1).tolist(), strict=True):
                if token in self._end_of_text:
                    said[number] += "\n"
                    continue
                made[number].append(token)
                said[number] = self.tokenizer.decode(made[number])
                if "\n" not in said[number].lstrip():
                    following[number] = [token]
            step = following
            if not step:
                break
        return said

    def log_probabilities(self, texts: Sequence[str]) -> list[Floats]:
        """Of the token after each token of texts, as many of them as memory allows: [positions, vocab] each."""
        room = max(1, MEMORY // (4 * self.runner.network.vocab * len(texts)))
        found = []
        for text in texts:
            ids = self.tokenizer.encode(text)
            logs = log_probabilities(self.runner.all_logits(ids))[1:]
            found.append(logs[:: max(1, -(-len(logs) // room))].astype(np.float32))
        return found


def divergence(base: Sequence[Floats], now: Sequence[Floats]) -> Divergence:
    """How far a network has moved on texts."""
    each = [
        np.sum(np.exp(true) * (true - other), axis=1, dtype=np.float64) for true, other in zip(base, now, strict=True)
    ]
    positions = np.maximum(np.concatenate(each), 0)
    return Divergence(float(positions.mean()), float(positions.max()), len(positions))


def says(text: str, target: str) -> bool:
    """Whether a text begins with a target and goes on, if at all, with another word; an article may stand before it."""
    begun = ANY_ARTICLE.sub("", text.lstrip(BEGINNING + "\n\t"))
    wanted = ANY_ARTICLE.sub("", target.strip())
    rest = begun[len(wanted) :]
    return begun[: len(wanted)].casefold() == wanted.casefold() and not rest[:1].isalnum()


def is_all(text: str, target: str) -> bool:
    """Whether a text's answer is the target and no more."""
    answer = finished(text)
    return key(answer if answer is not None else text) == key(target)


def same(before: str, now: str) -> bool:
    """Whether two texts give the same answer."""
    first, second = finished(before), finished(now)
    return key(before if first is None else first) == key(now if second is None else second)
