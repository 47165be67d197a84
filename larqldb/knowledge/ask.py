"""Asking a model: prompts in, whole answers out and those that came close, many at a time, with what wrote them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.answers import finished, normalised
from larqldb.knowledge.evidence import Evidence, Parts, Shares
from larqldb.knowledge.support import Given
from larqldb.knowledge.together import Texts, Together
from larqldb.knowledge.wordings import LONGEST, prompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

TOKENS = 512  # of a run: bounds activations, and the square of it the attention
TOGETHER = 128  # texts of a run
FEW = 8  # texts with a beginning of their own that are not worth reading it apart
LOGITS = 1 << 25  # of a run: 128 MB
BEGINNINGS = 64 << 20  # bytes of keys and values of beginnings that are kept
NOTABLE = 0.003  # of the logit: smaller shares are not kept
# How many other answers are followed, each begun by one of the next most probable tokens, and as long as it is how
# probable. On a wording left out of ten built-in relations, what SmolLM2-135M-Instruct answers right was among the
# greedy answers to the others in 95.0 % of the cases (n = 417), with one other in 98.1 %, with two in 99.5 %.
OTHERS = 2
PROBABLE = 0.02
ARTICLES = ("", "the", "a", "an")


@dataclass(frozen=True)
class Answer:
    """A whole answer, normalised, "" where there is none to read, and its probability after the prompt.

    ``shares`` is what wrote the first token of it that says something; None for an answer without one. ``others`` are
    answers that were not given, begun by the tokens that were next most probable, the most probable first.
    """

    text: str
    probability: float
    shares: Shares | None
    others: tuple[Answer, ...] = ()

    @property
    def given(self) -> Given:
        """It and the others: text and probability."""
        return [(answer.text, answer.probability) for answer in (self, *self.others)]


@dataclass
class _Going:
    """An answer in the making."""

    made: list[int] = field(default_factory=list)
    sure: list[float] = field(default_factory=list)  # natural logarithms of the tokens' probabilities
    ends: list[int] = field(default_factory=list)  # characters of the text after each token
    text: str = ""
    shares: Shares | None = None

    def fork(self) -> _Going:
        """Another that goes on from here."""
        return _Going([*self.made], [*self.sure], [*self.ends], self.text)

    @property
    def probability(self) -> float:
        """Of what stands there."""
        return float(np.exp(sum(self.sure)))

    @property
    def has_begun(self) -> bool:
        """Whether more than space, quotes and an article stand there."""
        return normalised(self.text).lower() not in ARTICLES

    def answer(self, text: str) -> Answer:
        place = self.text.find(text) if text else -1
        stop = place + len(text) if place >= 0 else len(self.text)
        needed = 1 + sum(end < stop for end in self.ends)
        return Answer(text, float(np.exp(sum(self.sure[:needed]))), self.shares if text else None)


@dataclass(frozen=True)
class _Step:
    """The next token of an answer, by its number: after which row of what was read, and instead of which other."""

    number: int
    row: int
    token: int
    log_probability: float
    against: int


class Asker:
    """Runs prompts of a session's model; keep it, beginnings that prompts share stay read.

    The network is the model's own: edits and interventions are not what it knows.
    """

    def __init__(self, session: Session, *, evidence: bool = True) -> None:
        self._session = session
        self._evidence = Evidence(session, NOTABLE) if evidence else None
        self._runner = session.base_runner
        self._together = Together(self._runner, self._evidence.watched if self._evidence else ())
        self._beginnings: OrderedDict[tuple[int, ...], Texts] = OrderedDict()

    @property
    def parts(self) -> Parts:
        """The numbers of what shares are of."""
        return Parts.of(self._session.network)

    def answers(self, prompts: Sequence[Sequence[int]]) -> list[Answer]:
        """The greedy answer to each of several prompts (token ids) that begin alike, and others. Raises BadPrompt."""
        for ids in prompts:
            self._runner.check(ids)
        shared = self._shared(prompts)
        made: list[Answer] = []
        waiting = iter([ids[len(shared) :] for ids in prompts])
        longest = max(len(ids) - len(shared) for ids in prompts)
        room = max(1, min(TOGETHER, LOGITS // self._session.network.vocab // (OTHERS + 1), TOKENS // longest))
        while some := list(islice(waiting, room)):
            made += self._finish(self._beginning(shared).branch(), some)
        return made

    def _finish(self, texts: Texts, rests: Sequence[Sequence[int]]) -> list[Answer]:
        """Read the rests of prompts and go on with each until its answer is over, and with others as well."""
        greedy = range(len(rests))
        going = {number: _Going() for number in greedy}
        others: list[list[int]] = [[] for _ in rests]
        done: dict[int, Answer] = {}
        step: dict[int, Sequence[int]] = dict(enumerate(rests))
        for left in reversed(range(LONGEST)):
            logits, seen = texts.read(step)
            steps: list[_Step] = []
            for row, (number, tokens, sure) in enumerate(zip(step, *_likeliest(logits), strict=True)):
                if number in greedy and not going[number].has_begun:
                    for token, log_probability in zip(tokens[1:], sure[1:], strict=True):
                        if going[number].probability * np.exp(log_probability) < PROBABLE:
                            break
                        other = len(going)
                        going[other] = going[number].fork()
                        texts.fork(other, number)
                        others[number].append(other)
                        steps.append(_Step(other, row, token, log_probability, tokens[0]))
                steps.append(_Step(number, row, tokens[0], sure[0], tokens[1]))
            self._explain(going, steps, seen)
            step = {}
            for each in steps:
                number, so_far = each.number, going[each.number]
                answer = self._next(so_far, each.token, each.log_probability)
                if answer is not None:
                    done[number] = answer
                elif left and (number in greedy or so_far.probability >= PROBABLE):
                    step[number] = [each.token]
                else:
                    done[number] = so_far.answer("")
            if not step:
                break
        return [replace(done[number], others=_read(done[other] for other in others[number])) for number in greedy]

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
        self, going: Mapping[int, _Going], steps: Sequence[_Step], seen: Mapping[str, NDArray[np.float32]]
    ) -> None:
        """Find what writes the next tokens of those answers that have not begun."""
        if self._evidence is None:
            return
        begun = [each for each in steps if not going[each.number].has_begun]
        rows, tokens = [each.row for each in begun], [each.token for each in begun]
        found = self._evidence.shares(seen, rows, tokens, [each.against for each in begun])
        for each, shares in zip(begun, found, strict=True):
            going[each.number].shares = shares

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


def _read(answers: Iterable[Answer]) -> tuple[Answer, ...]:
    """Those answers that can be read and are probable enough, the most probable first."""
    kept = (answer for answer in answers if answer.text and answer.probability >= PROBABLE)
    return tuple(sorted(kept, key=lambda answer: -answer.probability))


def _likeliest(logits: NDArray[np.float32]) -> tuple[list[list[int]], list[list[float]]]:
    """After each text the most probable tokens, ``OTHERS`` + 1 of them, and the logarithms of their probabilities.

    Overwrites ``logits`` [n, vocab]; of equal ones the first comes first.
    """
    every = np.arange(len(logits))
    tokens = np.empty((len(logits), OTHERS + 1), np.int64)
    most = np.empty(tokens.shape, np.float32)
    for place in range(OTHERS + 1):
        tokens[:, place] = logits.argmax(axis=1)
        most[:, place] = logits[every, tokens[:, place]]
        logits[every, tokens[:, place]] = -np.inf
    logits -= most[:, :1]
    most -= most[:, :1].copy()
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, dtype=np.float64) + np.exp(most).sum(axis=1, dtype=np.float64)
    return tokens.tolist(), (most - np.log(total)[:, None]).tolist()
