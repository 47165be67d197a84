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
MEMORY = 256 << 20  # bytes of log-probabilities that are kept, if of no more texts than
MOST_TEXTS = 16


@dataclass(frozen=True)
class Said:
    """What a network goes on with: the text and its tokens, the one that ended it included."""

    text: str
    ids: tuple[int, ...]


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
        self._together = Together(runner)

    def answers(self, prompts: Sequence[str], tokens: int = LONGEST) -> list[Said]:
        """What follows each prompt: the likeliest tokens until the answer is over, at most ``tokens``."""
        parts = (prompts[first : first + TOGETHER] for first in range(0, len(prompts), TOGETHER))
        return [said for some in parts for said in self._go_on(some, tokens)]

    def _go_on(self, prompts: Sequence[str], tokens: int) -> list[Said]:
        texts = self._together.begin(())
        made: list[list[int]] = [[] for _ in prompts]
        said = ["" for _ in prompts]
        step: dict[int, Sequence[int]] = {number: self.tokenizer.encode(text) for number, text in enumerate(prompts)}
        for _ in range(tokens):
            logits, _ = texts.read(step)
            following: dict[int, Sequence[int]] = {}
            for number, token in zip(step, logits.argmax(axis=1).tolist(), strict=True):
                made[number].append(token)
                if token in self._end_of_text:
                    said[number] += "\n"
                    continue
                said[number] = self.tokenizer.decode(made[number])
                if finished(said[number]) is None:
                    following[number] = [token]
            step = following
            if not step:
                break
        return [Said(text, tuple(ids)) for text, ids in zip(said, made, strict=True)]

    def keeps(self, prompts: Sequence[str], before: Sequence[Said]) -> list[bool]:
        """Whether each prompt's answer is still as it was; read all at once, gone on with only where tokens differ."""
        asked = [self.tokenizer.encode(text) for text in prompts]
        kept: list[bool] = []
        for first in range(0, len(asked), TOGETHER):
            some = range(first, min(first + TOGETHER, len(asked)))
            texts = [[*asked[i], *before[i].ids[:-1]] for i in some]
            wanted = [range(len(asked[i]) - 1, len(text)) for i, text in zip(some, texts, strict=True)]
            chosen = iter(self._read(texts, wanted).argmax(axis=1).tolist())
            kept += [tuple(next(chosen) for _ in before[i].ids) == before[i].ids for i in some]
        doubtful = [i for i, is_kept in enumerate(kept) if not is_kept]
        for i, now in zip(doubtful, self.answers([prompts[i] for i in doubtful]), strict=True):
            kept[i] = same(before[i].text, now.text)
        return kept

    def log_probabilities(self, texts: Sequence[str]) -> list[Floats]:
        """Of the token after each token of texts but the first, or some of them, as memory allows: [n, vocab] each.

        Which, is the same whatever other texts are asked about.
        """
        room = max(1, MEMORY // (4 * self.runner.network.vocab * MOST_TEXTS))
        found = []
        for text in texts:
            ids = self.tokenizer.encode(text)
            places = range(1, len(ids), max(1, -(-len(ids) // room)))
            found.append(log_probabilities(self._read([ids], [places])).astype(np.float32))
        return found

    def _read(self, texts: Sequence[Sequence[int]], wanted: Sequence[range]) -> Floats:
        """Logits at the wanted places of each text, one after the other: [n, vocab]."""
        lengths = [len(text) for text in texts]
        owners = np.repeat(np.arange(len(texts)), lengths)
        places = np.concatenate([np.arange(length) for length in lengths])
        starts = np.cumsum([0, *lengths[:-1]])
        at = np.concatenate([start + np.array(each) for start, each in zip(starts, wanted, strict=True)])
        together = self._together
        logits, _ = together.run(together.begin(()), np.concatenate(texts), owners, places, at)
        return logits


def divergence(base: Sequence[Floats], now: Sequence[Floats]) -> Divergence:
    """How far a network has moved on texts."""
    each = [
        np.sum(np.exp(true, dtype=np.float64) * (true - other), axis=1) for true, other in zip(base, now, strict=True)
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
