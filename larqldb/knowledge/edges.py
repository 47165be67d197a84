"""Edges: what the answers to a relation's wordings say of one entity, the evidence of all wordings put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.knowledge.answers import key
from larqldb.knowledge.contributors import Contributors, contributors
from larqldb.knowledge.pieces import Written, written
from larqldb.knowledge.support import Support, supports

if TYPE_CHECKING:
    from larqldb.knowledge.ask import Answer
    from larqldb.knowledge.evidence import Parts


@dataclass(frozen=True)
class Edge:
    """A target of an entity and a relation, its support and its evidence.

    ``contributors``, and evidence beyond the strongest, are known of the best supported target alone.
    """

    target: str
    support: Support
    evidence: Written
    contributors: Contributors | None = None


def edges(answers: Sequence[Answer], parts: Parts, spellings: Mapping[str, str]) -> list[Edge]:
    """The edges that the answers to an entity's wordings make, best supported first.

    A target that no wording was answered with, and that came close in some, makes one too. ``spellings`` are the names
    that are known already, by ``answers.key``: a target is written as they are.
    """
    found = supports([answer.given for answer in answers])
    made: list[Edge] = []
    for same, support in found.items():
        held = answers if support.agreement else [other for answer in answers for other in answer.others]
        shares = [answer.shares for answer in held if answer.shares is not None and key(answer.text) == same]
        helped = None if made else contributors(shares, parts, len(answers))
        proof = written(shares, parts, whole=not made)
        made.append(Edge(spellings.get(same, support.spelling), support, proof, helped))
    return made
