"""What became of inserted facts; asking the weights that are written is ``facts``, which runs the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.storage import edits

if TYPE_CHECKING:
    from larqldb.functions.session import Session
    from larqldb.storage.edits import InsertedFact

EXACT, NOT_ASKED = "its numbers are written as they are", "not asked after rounding"


@dataclass(frozen=True)
class Outcome:
    """What became of an inserted fact.

    ``probability`` is that of the whole target in the first wording, by the weights as written, or as recorded when the
    fact was inserted where nothing was asked; ``survived`` is None where nothing was asked.
    """

    entity: str
    relation: str
    target: str
    layer: int | None
    probability: float | None
    survived: bool | None
    note: str

    @classmethod
    def of(cls, fact: InsertedFact, probability: float | None, survived: bool | None, note: str) -> Outcome:
        """What became of a fact that is in the vindex."""
        return cls(fact.entity, fact.relation, fact.target, fact.layer, probability, survived, note)


def unasked(session: Session, note: str) -> list[Outcome]:
    """The inserted facts as they are recorded."""
    return [Outcome.of(fact, fact.probability, None, note) for fact in edits.inserted(session.db)]
