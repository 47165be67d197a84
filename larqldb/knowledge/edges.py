"""Edges: what the answers to a relation's wordings say of one entity, the evidence of all wordings put together.

Evidence is ranked by what a part adds to the answer's lead over the next likeliest token, a head's divided by the
square root of the numbers it writes. Found by zeroing the 32 strongest at every position and looking whether the answer
changes, and zeroing 32 others of the same layers and of the same size (SmolLM2-135M-Instruct, 60 edges of three
relations): ranked by the logit itself it changed in 100 % and 24 %, by the lead in 100 % and 19 %, with heads counted
down so in 100 % and 12 %. A head writes many numbers at once, most of them for something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.answers import key
from larqldb.knowledge.support import Support, supports

if TYPE_CHECKING:
    from larqldb.knowledge.ask import Answer
    from larqldb.knowledge.evidence import Parts, Shares

LEAST = 0.01  # of the logit: what evidence goes down to


@dataclass(frozen=True)
class Piece:
    """A feature or head that wrote an answer: what it adds to the logit, mean over the wordings, and its share of it.

    ``wordings`` is in how many of them it came to ``LEAST`` of the logit by itself.
    """

    kind: str
    layer: int
    number: int
    contribution: float
    share: float
    wordings: int


@dataclass(frozen=True)
class Edge:
    """A target of an entity and a relation, its support and its evidence, strongest first."""

    target: str
    support: Support
    evidence: tuple[Piece, ...]

    @property
    def feature(self) -> Piece | None:
        """The feature that contributes most."""
        return next((piece for piece in self.evidence if piece.kind == "feature"), None)


def edges(answers: Sequence[Answer], parts: Parts, spellings: Mapping[str, str]) -> list[Edge]:
    """The edges that the answers to an entity's wordings make, best supported first.

    ``spellings`` are the names that are known already, by ``answers.key``: a target is written as they are.
    """
    found = supports([(answer.text, answer.probability) for answer in answers])
    made = []
    for same, support in found.items():
        shares = [answer.shares for answer in answers if answer.shares is not None and key(answer.text) == same]
        made.append(Edge(spellings.get(same, support.spelling), support, evidence(shares, parts)))
    return made


def evidence(shares: Sequence[Shares], parts: Parts) -> tuple[Piece, ...]:
    """The mean of several texts' shares, strongest first, down to ``LEAST`` of the mean logit."""
    if not shares:
        return ()
    numbers, places = np.unique(np.concatenate([each.parts for each in shares]), return_inverse=True)
    total = np.bincount(places, np.concatenate([each.shares for each in shares]), len(numbers)) / len(shares)
    notable = np.concatenate([np.abs(each.shares) >= LEAST * abs(each.logit) for each in shares])
    often = np.bincount(places, notable, len(numbers)).astype(np.int64)
    logit = float(np.mean([each.logit for each in shares]))
    lead = np.bincount(places, np.concatenate([each.leads for each in shares]), len(numbers)) / len(shares)
    order = np.argsort(-lead * parts.weight(numbers), kind="stable")
    order = order[np.maximum(np.abs(total), np.abs(lead))[order] >= LEAST * abs(logit)]
    columns = (column[order].tolist() for column in (numbers, total, total / logit, often))
    return tuple(Piece(*parts.read(number), *rest) for number, *rest in zip(*columns, strict=True))
