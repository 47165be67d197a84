"""Asking about one entity now: every relation that makes sense of it, in all wordings that the file has.

for found in ask_entity(session, "Portugal"):
    for edge, confidence in found.edges:                    # best first
        print(found.relation, edge.target, confidence, edge.feature)
store(session, "Portugal", found_all)                        # as a probe would have written it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from larqldb.knowledge import records
from larqldb.knowledge.answers import key
from larqldb.knowledge.ask import Answer, Asker, ask_all
from larqldb.knowledge.calibrate import calibration
from larqldb.knowledge.domains import Domains
from larqldb.knowledge.edges import Edge, edges
from larqldb.knowledge.wordings import check_entity, check_lengths
from larqldb.storage import edits
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
    kept = _ready(session, entity)
    if relations is None:
        if not fetch(session.db, "SELECT 1 FROM relation_domains LIMIT 1"):
            return []
        relations = [name for name, belongs in kept.domains.belongs(entity).items() if belongs]
    found = (_ask(session, kept, entity, relation, least, wordings) for relation in relations)
    return sorted((each for each in found if each.edges), key=lambda each: -each.edges[0][1])


def ask_about(session: Session, entity: str, relations: Sequence[str]) -> list[Found]:
    """What is to be stored of an entity and each of some relations: answers, where the entity belongs to what it is of.

    Edges are as of ``ask_entity``, but for answers that repeat the name asked about, in relations where no fact does:
    these are what a model says that has none. Raises MissingPart and BadPrompt as that does.
    """
    kept, made = _ready(session, entity), []
    belongs = kept.domains.belongs(entity)
    for relation in relations:
        if not belongs.get(relation):
            made.append(Found(relation, {}, ()))
            continue
        found = _ask(session, kept, entity, relation, LEAST, WORDINGS)
        names = {key(entity), *key(entity).split()}
        if not fetch(session.db, "SELECT 1 FROM facts WHERE relation = ? AND target = entity LIMIT 1", (relation,)):
            found = replace(found, edges=tuple(each for each in found.edges if key(each[0].target) not in names))
        made.append(found)
    return made


def _ready(session: Session, entity: str) -> _Kept:
    """What asking about an entity needs."""
    session.require("inference", "asking the model", "attention weights and feature vectors of all layers")
    check_entity(session.tokenizer, entity)
    kept = _kept.get(session)
    if kept is None:
        kept = _kept[session] = _Kept(session)
    return kept


def _ask(session: Session, kept: _Kept, entity: str, relation: str, least: float, wordings: int) -> Found:
    """What some wordings of a relation say of an entity: nothing where it has none."""
    known = records.templates_of(session.db, relation)
    some = known[:: -(-len(known) // wordings)] if known else []
    if some:
        check_lengths(session, some, [entity])
    answers = ask_all(session, kept.asker, some, [entity])[entity]
    spellings, sure = records.spellings(session.db, relation, entity), calibration(session.db)
    found = edges(list(answers.values()), kept.asker.parts, spellings)
    rated = [(edge, sure.of(edge.support, relation)) for edge in found]
    held = sorted((each for each in rated if each[1] >= least), key=lambda each: -each[1])
    return Found(relation, answers, tuple(held))


def store(session: Session, entity: str, found: Iterable[Found]) -> None:
    """Write what ``ask_entity`` or ``ask_about`` found, in place of what was known of the entity and these relations.

    A relation without answers is one that the entity is not to be asked about again. The caller holds the transaction;
    the database must be writable.
    """
    for each in found:
        if each.answers:
            records.write_entity(session.db, each.relation, entity, each.answers, each.edges)
        else:
            session.db.execute("INSERT OR IGNORE INTO not_asked VALUES (?, ?)", (entity, each.relation))
    edits.show(session.db)  # what an edit deleted stays off the list
