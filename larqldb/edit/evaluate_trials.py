"""What is asked before and after a fact is inserted, and which of it INSERT itself gets to see.

A relation's wordings are split: INSERT works with the first half, the rest is asked only here. Neighbours are entities
that INSERT neither compares with nor measures by, as long as there are enough of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.edit.asking import Askings
from larqldb.knowledge import packs, records
from larqldb.knowledge.answers import key
from larqldb.knowledge.wordings import prompt
from larqldb.storage import wordings

if TYPE_CHECKING:
    import apsw

    from larqldb.edit.asking import Relation
    from larqldb.edit.evaluate_facts import Stated

NEIGHBOURS = 16
OTHERS = 3  # relations of the same entity
ALIKE = 1 / 3  # of the entities of a relation are another's too: then both can be asked about them
HELD_OUT = (  # for relations without wordings of their own, or with a single one
    "Everybody here can tell you {entity}'s {relation}: it is",
    "If someone asks for the {relation} of {entity}, the answer is",
    "As for the {relation}, that of {entity} is",
)


@dataclass(frozen=True)
class Trial:
    """A fact with prompts: ``seen`` are those INSERT is made for, the canonical one first, ``unseen`` held out.

    ``neighbours`` ask for the relation of other entities, ``others`` for other relations of the entity.
    """

    fact: Stated
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    neighbours: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Wordings:
    """The wordings of a relation, each holding ``{entity}``: those that INSERT works with, and the others."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]


def split(db: apsw.Connection, relation: str) -> Wordings:
    """The wordings of a relation in two: those of the file, else of the pack; INSERT has its own for others.

    A pack's are in their own order, the file's in none that has a meaning. Worked examples before them are left out.
    """
    pack = _pack(relation)
    known = [template.rpartition("\n")[2] for template in wordings.templates(db, relation)]
    plain = list(dict.fromkeys(known or (pack.wordings if pack else ())))
    if pack is not None and set(plain) == set(pack.wordings):
        plain = list(pack.wordings)
    half = (len(plain) + 1) // 2
    return Wordings(tuple(plain[:half]), tuple(plain[half:]) or _held_out(relation))


def _held_out(relation: str) -> tuple[str, ...]:
    named = relation.replace("-", " ").replace("_", " ")
    return tuple(template.replace("{relation}", named) for template in HELD_OUT)


def hold_out(db: apsw.Connection, relation: str, known: Wordings) -> None:
    """Let a file know a relation's seen wordings and no others: what INSERT on that file works with."""
    if not known.seen:
        return
    stored = db.execute("SELECT name FROM relations WHERE name = ? COLLATE NOCASE", (relation,)).fetchone()
    name = stored[0] if stored else relation
    records.add_relation(db, name, None, "user")
    records.replace_templates(db, name, known.seen)


def trials(db: apsw.Connection, facts: Sequence[Stated], known: Mapping[str, Wordings]) -> list[Trial]:
    """What to ask about each fact. Nobody edited in a relation is asked for it as another's neighbour.

    Held-out wordings that INSERT thinks of by itself are not asked.
    """
    askings = Askings(db)
    edited = {(fact.relation, key(fact.entity)) for fact in facts}
    made: list[Trial] = []
    neighbours: dict[str, tuple[str, ...]] = {}
    for fact in facts:
        asked = askings.of(fact.entity, fact.relation)
        unseen = _untold(known[fact.relation].unseen, asked.relation) or _untold(
            _held_out(fact.relation), asked.relation
        )
        if fact.relation not in neighbours:
            names = _neighbours(db, fact.relation, asked.relation, {name for of, name in edited if of == fact.relation})
            pairs = [(template, name) for name in names for template in (asked.relation.templates[0], unseen[0])]
            neighbours[fact.relation] = tuple(prompt(template, name) for template, name in pairs)
        others = [
            prompt(pack.wordings[1], fact.entity)  # INSERT may look at the first
            for pack in _like(fact.relation)
            if (pack.relation, key(fact.entity)) not in edited
        ]
        seen, held_out = asked.prompts, tuple(prompt(template, fact.entity) for template in unseen)
        made.append(Trial(fact, seen, held_out, neighbours[fact.relation], tuple(others[:OTHERS])))
    return made


def _untold(templates: Sequence[str], relation: Relation) -> list[str]:
    """Those wordings that INSERT does not use."""
    told = {key(template) for template in relation.wordings}
    return [template for template in templates if key(template) not in told]


def _neighbours(db: apsw.Connection, relation: str, how: Relation, edited: set[str]) -> list[str]:
    """Other entities: first those INSERT knows nothing of, then those it measures by, then whoever."""
    pack = _pack(relation)
    names = {*wordings.entities(db, relation), *((fact.entity for fact in pack.facts) if pack else ())}
    names = {name for name in names if key(name) not in edited} - set(how.names)
    second = names & set(how.neighbours)
    strangers = {fact.entity for each in packs.builtin() for fact in each.facts} - names - set(how.names)
    groups = (names - second, second, strangers)
    return [name for group in groups for name in sorted(group, key=_shuffled)][:NEIGHBOURS]


def _like(relation: str) -> list[packs.Pack]:
    """Packs of other relations that hold for the same kind of entity, the most alike first."""
    own = _pack(relation)
    if own is None:
        return []
    entities = {fact.entity for fact in own.facts}
    shares = [
        (len(entities & {fact.entity for fact in pack.facts}) / len(entities), pack)
        for pack in packs.builtin()
        if pack is not own
    ]
    return [pack for share, pack in sorted(shares, key=lambda pair: -pair[0]) if share >= ALIKE]


def _pack(relation: str) -> packs.Pack | None:
    return next((pack for pack in packs.builtin() if key(pack.relation) == key(relation)), None)


def _shuffled(name: str) -> bytes:
    """An order that has nothing to do with the names, the same every time, and not that of INSERT's own choice."""
    return hashlib.sha256(name.encode()).digest()
