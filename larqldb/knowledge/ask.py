"""Asking a model: prompts in, whole answers out, many at a time, with what wrote them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.answers import finished, normalised
from larqldb.knowledge.evidence import Evidence, Parts, Shares
from larqldb.knowledge.together import Texts, Together
from larqldb.knowledge.wordings import LONGEST, prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

TOKENS = 512  # of a run: bounds activations, and the square of it the attention
TOGETHER = 128  # texts of a run
FEW = 8  # texts with a beginning of their own that are not worth reading it apart
LOGITS = 1 << 24  # of a run: 64 MB
BEGINNINGS = 64 << 20  # bytes of keys and values of beginnings that are kept
NOTABLE = 0.003  # of the logit: smaller shares are not kept
ARTICLES = ("", "the", "a", "an")


@dataclass(frozen=True)
class Answer:
    """A whole answer, normalised, "" where there is none to read, and its probability after the prompt.

    ``shares`` is what wrote the first token of it that says something; None for an answer without one.
    """

    text: str
    probability: float
    shares: Shares | None


@dataclass
class _Going:
    """An answer in the making."""

    made: list[int] = field(default_factory=list)
    sure: list[float] = field(default_factory=list)  # natural logarithms of the tokens' probabilities
    ends: list[int] = field(default_factory=list)  # characters of the text after each token
    text: str = ""
    shares: Shares | None = None

    @property
    def has_begun(self) -> bool:
        """Whether more than space, quotes and an article stand there."""
        return normalised(self.text).lower() not in ARTICLES

    def answer(self, text: str) -> Answer:
        place = self.text.find(text) if text else -1
        stop = place + len(text) if place >= 0 else len(self.text)
        needed = 1 + sum(end < stop for end in self.ends)
        return Answer(text, float(np.exp(sum(self.sure[:needed]))), self.shares if text else None)


class Asker:
    """Runs prompts of one session's network; keep it, beginnings that prompts share stay read."""

    def __init__(self, session: Session, *, evidence: bool = True) -> None:
        self._session = session
        self._evidence = Evidence(session, NOTABLE) if evidence else None
        self._together = Together(session.runner, self._evidence.watched if self._evidence else ())
        self._beginnings: OrderedDict[tuple[int, ...], Texts] = OrderedDict()

    @property
    def parts(self) -> Parts:
        """The numbers of what shares are of."""
        return Parts.of(self._session.network)

    def answers(self, prompts: Sequence[Sequence[int]]) -> list[Answer]:
        """The greedy answer to each of several prompts (token ids) that begin alike. Raises BadPrompt."""
        for ids in prompts:
            self._session.runner.check(ids)
        shared = self._shared(prompts)
        made: list[Answer] = []
        waiting = iter([ids[len(shared) :] for ids in prompts])
        longest = max(len(ids) - len(shared) for ids in prompts)
        room = max(1, min(TOGETHER, LOGITS // self._session.network.vocab, TOKENS // longest))
        while some := list(islice(waiting, room)):
            made += self._finish(self._beginning(shared).branch(), some)
        return made

    def _finish(self, texts: Texts, rests: Sequence[Sequence[int]]) -> list[Answer]:
        """Read the rests of prompts and go on with each until its answer is over."""
        going = {number: _Going() for number in range(len(rests))}
        done: dict[int, Answer] = {}
        step: dict[int, Sequence[int]] = dict(enumerate(rests))
        for left in reversed(range(LONGEST)):
            logits, seen = texts.read(step)
            tokens, next_best, sure = _likeliest(logits)
            self._explain(going, list(step), tokens, next_best, seen)
            following: dict[int, Sequence[int]] = {}
            for number, token, log_probability in zip(step, tokens, sure, strict=True):
                answer = self._next(going[number], token, log_probability)
                if answer is None and left:
                    following[number] = [token]
                else:
                    done[number] = answer or going[number].answer("")
            step = following
            if not step:
                break
        return [done[number] for number in range(len(rests))]

    def _next(self, going: _Going, token: int, log_probability: float) -> Answer | None:
        """Put a token behind an answer; the answer when that ends it."""
        if token in self._session.end_of_text:
            return going.answer(finished(going.text + "\n") or "")
        going.made.append(token)
        going.sure.append(log_probability)
        going.text = self._session.tokenizer.decode(going.made)
        going.ends.append(len(going.text))
        text = finished(going.text)
        return None if text is None else going.answer(text)

    def _explain(
        self,
        going: dict[int, _Going],
        numbers: list[int],
        tokens: list[int],
        next_best: list[int],
        seen: dict[str, NDArray[np.float32]],
    ) -> None:
        """Find what wrote the next tokens of those answers that have not begun."""
        if self._evidence is None:
            return
        rows = [row for row, number in enumerate(numbers) if not going[number].has_begun]
        against = [next_best[row] for row in rows]
        found = self._evidence.shares(seen, rows, [tokens[row] for row in rows], against)
        for row, shares in zip(rows, found, strict=True):
            going[numbers[row]].shares = shares

    def _shared(self, prompts: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """What prompts begin with: a beginning that was read already, or else all they have in common."""
        first, last = (
            min(map(tuple, prompts)),
            max(map(tuple, prompts)),
        )  # whatever these two share, those between share too
        most = min(map(len, prompts)) - 1
        count = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), most)
        common = first[: min(count, most)]
        known = [ids for ids in self._beginnings if ids == common[: len(ids)]]
        best = max(known, key=len, default=())
        return best if len(common) - len(best) <= 2 else common

    def _beginning(self, ids: tuple[int, ...]) -> Texts:
        """Texts that begin with ``ids``; the latest beginnings are kept."""
        if ids not in self._beginnings:
            self._beginnings[ids] = self._together.begin(ids)
        self._beginnings.move_to_end(ids)
        while sum(texts.nbytes for texts in self._beginnings.values()) > BEGINNINGS and len(self._beginnings) > 1:
            self._beginnings.popitem(last=False)
        return self._beginnings[ids]


def ask_all(
    session: Session, asker: Asker, wordings: Sequence[str], entities: Sequence[str]
) -> dict[str, dict[str, Answer]]:
    """The answers of entities to every wording: entity → wording → answer. Prompts that begin alike run together."""
    answers: dict[str, dict[str, Answer]] = {entity: {} for entity in entities}
    for wording in wordings:
        groups: dict[str, list[tuple[str, str]]] = {}
        for entity in entities:
            asked = prompt(wording, entity)
            groups.setdefault(asked.rpartition("\n")[0], []).append((entity, asked))
        few = [asked for group in groups.values() if len(group) < FEW for asked in group]
        for group in filter(None, [*(group for group in groups.values() if len(group) >= FEW), few]):
            ids = [session.tokenizer.encode(asked) for _, asked in group]
            for (entity, _), answer in zip(group, asker.answers(ids), strict=True):
                answers[entity][wording] = answer
    return answers


def _likeliest(logits: NDArray[np.float32]) -> tuple[list[int], list[int], list[float]]:
    """After each text the most probable token, the next most probable, and the logarithm of the first's probability.

    Overwrites ``logits`` [n, vocab]; of equal ones the first comes first.
    """
    every = np.arange(len(logits))
    tokens = logits.argmax(axis=1)
    logits -= logits[every, tokens][:, None]
    logits[every, tokens] = -np.inf
    next_best = logits.argmax(axis=1)
    np.exp(logits, out=logits)
    return tokens.tolist(), next_best.tolist(), (-np.log1p(logits.sum(axis=1, dtype=np.float64))).tolist()
