"""What is asked before and after a fact is inserted, and which of it INSERT itself gets to see.

A relation's wordings are split: INSERT works with the first half, the rest is asked only here. Neighbours are entities
that INSERT neither compares with nor measures by, as long as there are enough of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.edit.asking import DEFAULTS, asking
from larqldb.knowledge import packs, records
from larqldb.knowledge.answers import key
from larqldb.knowledge.wordings import prompt
from larqldb.storage import wordings

if TYPE_CHECKING:
    import apsw

    from larqldb.edit.evaluate_facts import Stated

NEIGHBOURS = 16
OTHERS = 3  # relations of the same entity
ALIKE = 1 / 3  # of the entities of a relation are another's too: then both can be asked about them
HELD_OUT = (  # for relations without wordings of their own, or with a single one
    "Everybody knows the {relation} of {entity}: it is",
    "Q: What is the {relation} of {entity}? A:",
    "If someone asks for the {relation} of {entity}, the answer is",
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
    """The wordings of a relation in two: those of the file, else of the pack, else ``DEFAULTS`` and ``HELD_OUT``.

    A pack's are in their own order, the file's in none that has a meaning. Worked examples before them are left out.
    """
    pack = _pack(relation)
    known = [template.rpartition("\n")[2] for template in wordings.templates(db, relation)]
    plain = list(dict.fromkeys(known or (pack.wordings if pack else ())))
    if pack is not None and set(plain) == set(pack.wordings):
        plain = list(pack.wordings)
    named = relation.replace("-", " ").replace("_", " ")
    held_out = [template.replace("{relation}", named) for template in HELD_OUT]
    if not plain:
        return Wordings(tuple(template.replace("{relation}", named) for template in DEFAULTS), tuple(held_out))
    half = (len(plain) + 1) // 2
    return Wordings(tuple(plain[:half]), tuple(plain[half:] or held_out))


def hold_out(db: apsw.Connection, relation: str, known: Wordings) -> None:
    """Let a file know a relation's seen wordings and no others: what INSERT on that file works with."""
    stored = db.execute("SELECT name FROM relations WHERE name = ? COLLATE NOCASE", (relation,)).fetchone()
    name = stored[0] if stored else relation
    records.add_relation(db, name, None, "user")
    records.replace_templates(db, name, known.seen)


def trials(db: apsw.Connection, facts: Sequence[Stated], known: Mapping[str, Wordings]) -> list[Trial]:
    """What to ask about each fact. Nobody edited in a relation is asked for it as another's neighbour."""
    edited = {(fact.relation, key(fact.entity)) for fact in facts}
    made: list[Trial] = []
    neighbours: dict[str, tuple[str, ...]] = {}
    for fact in facts:
        ways = known[fact.relation]
        if fact.relation not in neighbours:
            neighbours[fact.relation] = _neighbours(db, facts, fact.relation, ways)
        asked = asking(db, fact.entity, fact.relation)
        unseen = tuple(prompt(template, fact.entity) for template in ways.unseen)
        others = [
            prompt(pack.wordings[0], fact.entity)
            for pack in _like(fact.relation)
            if (pack.relation, key(fact.entity)) not in edited
        ]
        made.append(Trial(fact, asked.prompts, unseen, neighbours[fact.relation], tuple(others[:OTHERS])))
    return made


def _neighbours(db: apsw.Connection, facts: Sequence[Stated], relation: str, ways: Wordings) -> tuple[str, ...]:
    """Prompts about other entities, in a wording that INSERT sees and in one that it does not."""
    own = [fact for fact in facts if fact.relation == relation]
    edited = {key(fact.entity) for fact in own}
    pack = _pack(relation)
    names = {*wordings.entities(db, relation), *((fact.entity for fact in pack.facts) if pack else ())}
    names = {name for name in names if key(name) not in edited}
    compared, measured = set[str](), set[str]()
    for fact in own:
        asked = asking(db, fact.entity, relation)
        compared.update(asked.siblings)
        measured.update(asked.neighbours)

    def among(prompts: set[str]) -> set[str]:
        return {name for name in names if any(prompt(template, name) in prompts for template in ways.seen)}

    second = among(measured) - among(compared)
    first = names - among(compared) - second
    strangers = {fact.entity for each in packs.builtin() for fact in each.facts} - names
    ordered = [name for group in (first, second, strangers) for name in sorted(group, key=_shuffled)]
    return tuple(prompt(template, name) for name in ordered[:NEIGHBOURS] for template in (ways.seen[0], ways.unseen[0]))


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
