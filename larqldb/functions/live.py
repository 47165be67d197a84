"""Asking the model about an entity in relations it was never asked about, in the middle of a statement that reads.

What it says is stored as a probe would store it, so that it is asked once, where that does nobody harm:

* with no transaction open: at once, in a transaction of its own
* in a transaction that has written already: as part of it, so that ROLLBACK takes it out too
* not in a transaction that only reads, which would come to hold a lock it never asked for
* not where the file is read-only, or another connection is writing to it or will not let go of it
* not where weights are rounded: with precision int8 or int4

The model as extracted is asked, whatever edits and interventions are in effect. What is not stored is remembered by
the connection until the file changes. The statement has its rows either way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import apsw

from larqldb.errors import BadPrompt, MissingPart
from larqldb.functions.known import Edge
from larqldb.storage import edits

if TYPE_CHECKING:
    from larqldb.functions.session import Session
    from larqldb.knowledge.live import Found

KEPT = 256  # entities whose answers are remembered where they cannot be stored

_Remembered = OrderedDict[tuple[object, ...], list[Edge]]
_remembered: WeakKeyDictionary[Session, _Remembered] = WeakKeyDictionary()


def ask(session: Session, entity: str, relations: Sequence[str]) -> list[Edge] | None:
    """What the model says of an entity in the wordings of those of some relations that make sense of it, surest first.

    None where it is stored now, to be read like what a probe found. Empty where the file does not hold the network, on
    connections that walk, which never have all of it in memory, and for names that the model cannot read.
    """
    if session.walking.asked is not None:
        return []
    from larqldb.knowledge.live import ask_about  # knowledge stands above functions: only this needs it

    remembered = _remembered.setdefault(session, OrderedDict())
    key = _key(session, entity)
    if key in remembered:
        return remembered[key]
    try:
        found = ask_about(session, entity, relations)
    except (BadPrompt, MissingPart):
        return []
    if _store(session, entity, found):
        return None
    gone = edits.deleted(session.db, entity)
    said = (edge for each in found for edge in _edges(each) if (edge.relation, edge.target) not in gone)
    answer = sorted(said, key=lambda edge: -(edge.confidence or 0))
    remembered[_key(session, entity)] = answer  # storing counts as a change, though it was taken back
    while len(remembered) > KEPT:
        remembered.popitem(last=False)
    return answer


def _key(session: Session, entity: str) -> tuple[object, ...]:
    """The entity in this state of the file."""
    return entity, session.db.data_version("main"), session.db.total_changes()


def _edges(found: Found) -> list[Edge]:
    """What was found, in the form of what is read from the file."""
    made = []
    for edge, confidence in found.edges:
        proof, most = edge.evidence, edge.evidence.feature
        pieces = tuple((one.layer, one.number, one.contribution) for one in proof.pieces if one.kind == "feature")
        score, layer, feature = (most.contribution, most.layer, most.number) if most else (None, None, None)
        made.append(Edge(None, found.relation, edge.target, score, layer, feature, confidence, "probe", pieces))
    return made


def _store(session: Session, entity: str, found: list[Found]) -> bool:
    """Write what was found, if that can be done without waiting and without anyone noticing; whether it was."""
    db = session.db
    if session.precision != "float32" or db.readonly("main"):
        return False
    inside = db.in_transaction
    if (db.txn_state("main") == apsw.SQLITE_TXN_WRITE) is not inside:
        return False  # a transaction that only reads, or a statement that is writing on its own
    begin, end, undo = (
        ("SAVEPOINT describe_live", "RELEASE describe_live", "ROLLBACK TO describe_live; RELEASE describe_live")
        if inside
        else ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")
    )
    from larqldb.knowledge.live import store

    last, patience = db.last_insert_rowid(), db.pragma("busy_timeout")
    db.set_busy_timeout(0)
    begun = False
    try:
        db.execute(begin)
        begun = True
        store(session, entity, found)
        db.execute(end)
    except BaseException as problem:
        if begun:
            with suppress(apsw.Error):  # SQLite may have rolled back already
                db.execute(undo)
        if not isinstance(problem, apsw.Error) or isinstance(problem, apsw.InterruptError):
            raise
        if inside and not db.in_transaction:
            raise  # the caller's transaction is gone, which it must be told
        return False
    finally:
        db.set_busy_timeout(patience)
        db.set_last_insert_rowid(last)
    return True
