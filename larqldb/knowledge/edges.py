"""Edges: what the answers to a relation's wordings say of one entity, the evidence of all wordings put together.

A part's strength is what it adds to the answer's lead over the next likeliest token, times the square root of that
share of all it writes; a head's is divided by the square root of the numbers it writes. Found by zeroing the 32
strongest at every position, and 32 others of the same layers and sizes: the first must change the answer, the others
must not. Of edges rated one half or more all answers change without the 32 strongest parts, and without the others
2.5 % of SmolLM2-135M-Instruct's and 15 % of Gemma 3 270M's; of unsure edges, whose lead is small, about a fifth
(tools/bench/knowledge.py). In single wordings, where this ranking was chosen, the others changed 24 and 25 % of the
answers when parts were ranked by the logit alone, 19 % by the lead, 10 and 12 % by strength. With sixteen parts, 79 to
95 % of the answers change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.knowledge.answers import key
from larqldb.knowledge.contributors import Contributors, contributors
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
    """A target of an entity and a relation, its support and its evidence, strongest first.

    ``contributors`` are known of the best supported target alone.
    """

    target: str
    support: Support
    evidence: tuple[Piece, ...]
    contributors: Contributors | None = None

    @property
    def feature(self) -> Piece | None:
        """The feature that contributes most."""
        return next((piece for piece in self.evidence if piece.kind == "feature"), None)


def edges(answers: Sequence[Answer], parts: Parts, spellings: Mapping[str, str]) -> list[Edge]:
    """The edges that the answers to an entity's wordings make, best supported first.

    ``spellings`` are the names that are known already, by ``answers.key``: a target is written as they are.
    """
    found = supports([(answer.text, answer.probability) for answer in answers])
    made: list[Edge] = []
    for same, support in found.items():
        shares = [answer.shares for answer in answers if answer.shares is not None and key(answer.text) == same]
        helped = None if made else contributors(shares, parts, len(answers))
        made.append(Edge(spellings.get(same, support.spelling), support, evidence(shares, parts), helped))
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
    size = np.bincount(places, np.concatenate([each.sizes for each in shares]), len(numbers)) / len(shares)
    strength = lead * np.sqrt(np.abs(lead) / np.maximum(size, np.finfo(np.float32).tiny)) * parts.weight(numbers)
    order = np.argsort(-strength, kind="stable")
    order = order[np.maximum(np.abs(total), np.abs(lead))[order] >= LEAST * abs(logit)]
    columns = (column[order].tolist() for column in (numbers, total, total / logit, often))
    return tuple(Piece(*parts.read(number), *rest) for number, *rest in zip(*columns, strict=True))
