"""Asking about one entity now: every relation that makes sense of it, in all wordings that the file has.

for found in ask_entity(session, "Portugal"):
    for edge, confidence in found.edges:                    # best first
        print(found.relation, edge.target, confidence, edge.feature)
store(session, "Portugal", found_all)                        # as a probe would have written it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from larqldb.knowledge import records
from larqldb.knowledge.ask import Answer, Asker, ask_all
from larqldb.knowledge.calibrate import calibration
from larqldb.knowledge.domains import Domains
from larqldb.knowledge.edges import Edge, edges
from larqldb.knowledge.wordings import check_entity, check_lengths
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from larqldb.functions.session import Session

LEAST = 0.05  # confidence below which an answer says nothing of the entity
WORDINGS = 3  # of a relation that are asked: someone is waiting


@dataclass(frozen=True)
class Found:
    """What a relation's wordings say of an entity: ``answers`` by wording, ``edges`` with confidence, best first."""

    relation: str
    answers: dict[str, Answer]
    edges: tuple[tuple[Edge, float], ...]


class _Kept:
    """What asking needs."""

    def __init__(self, session: Session) -> None:
        self.asker = Asker(session)
        self.domains = Domains(session)


_kept: WeakKeyDictionary[Session, _Kept] = WeakKeyDictionary()


def ask_entity(
    session: Session,
    entity: str,
    relations: Sequence[str] | None = None,
    *,
    least: float = LEAST,
    wordings: int = WORDINGS,
) -> list[Found]:
    """Run the relations' wordings for an entity, so many of each; nothing is written.

    The model itself is asked, as by ``probe``: edits in effect are edges of their own.

    Without ``relations`` they are those that were probed and that the entity belongs to (``domains``): of France nobody
    asks the atomic number. Named ones are asked whatever the entity. Edges less sure than ``least`` are left out, and
    relations without any. The most confident relation comes first. Raises MissingPart where the vindex does not hold
    the network, BadPrompt for an entity without tokens or longer than the model's context.
    """
    session.require("inference", "asking the model", "attention weights and feature vectors of all layers")
    check_entity(session.tokenizer, entity)
    kept = _kept.get(session)
    if kept is None:
        kept = _kept[session] = _Kept(session)
    if relations is None:
        if not fetch(session.db, "SELECT 1 FROM relation_domains LIMIT 1"):
            return []
        relations = [name for name, belongs in kept.domains.belongs(entity).items() if belongs]
    sure, made = calibration(session.db), []
    for relation in relations:
        known = records.templates_of(session.db, relation)
        if not known:
            continue
        some = known[:: -(-len(known) // wordings)]
        check_lengths(session, some, [entity])
        answers = ask_all(session, kept.asker, some, [entity])[entity]
        spellings = records.spellings(session.db, relation, entity)
        found = edges(list(answers.values()), kept.asker.parts, spellings)
        rated = [(edge, sure.of(edge.support)) for edge in found]
        held = sorted((each for each in rated if each[1] >= least), key=lambda each: -each[1])
        if held:
            made.append(Found(relation, answers, tuple(held)))
    return sorted(made, key=lambda found: -found.edges[0][1])


def store(session: Session, entity: str, found: Iterable[Found]) -> None:
    """Write what ``ask_entity`` found, in place of what was known of the entity and these relations.

    The caller holds the transaction; the database must be writable.
    """
    for each in found:
        records.write_entity(session.db, each.relation, entity, each.answers, each.edges)
