"""In which words a relation is asked for, and of whom else: what an edit is made for, and what it must leave alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.knowledge import packs
from larqldb.knowledge.wordings import prompt
from larqldb.storage import edits, wordings

if TYPE_CHECKING:
    import apsw

DEFAULTS = (
    "The {relation} of {entity} is",
    "{entity}'s {relation} is",
    "What is the {relation} of {entity}? The {relation} of {entity} is",
)
STRANGERS = (
    *("France", "Japan", "London", "Chicago", "Mozart", "Einstein", "Shakespeare", "Napoleon", "Microsoft", "Toyota"),
    *(
        "Harvard University",
        "the United Nations",
        "gold",
        "oxygen",
        "water",
        "dog",
        "tree",
        "music",
        "Monday",
        "the sun",
    ),
    *("John Smith", "Maria Garcia", "Hamlet", "the Bible", "Amazon", "the Nile", "Mount Everest", "football", "rice"),
)
MOST_WORDINGS = 8
SIBLINGS = 64  # other entities whose answers must stay when a fact is composed
NEIGHBOURS = 16  # other entities, those last in order, that tell whether they did


@dataclass(frozen=True)
class Asking:
    """Prompts about a relation: ``prompts`` of the entity itself, the canonical one first, and of others.

    ``is_default`` says that the relation has no wordings and ``DEFAULTS`` stand in.
    """

    prompts: tuple[str, ...]
    siblings: tuple[str, ...]
    neighbours: tuple[str, ...]
    is_default: bool


def asking(db: apsw.Connection, entity: str, relation: str) -> Asking:
    """How an entity is asked for a relation: in the file's own wordings, else those of a pack that larqldb ships."""
    pack = next((one for one in packs.builtin() if _name(one.relation) == _name(relation)), None)
    templates = [template.rpartition("\n")[2] for template in wordings.templates(db, relation)]
    templates = templates or (list(pack.wordings) if pack else [])
    defaults = [template.replace("{relation}", _name(relation)) for template in DEFAULTS]
    is_default = not templates
    chosen = list(dict.fromkeys(templates or defaults))
    canonical = next((one for one in chosen if one.casefold() == defaults[0].casefold()), chosen[0])
    chosen = list(dict.fromkeys([canonical, *chosen]))[:MOST_WORDINGS]
    others = set(wordings.entities(db, relation)) | ({fact.entity for fact in pack.facts} if pack else set())
    latest = [fact.entity for fact in edits.inserted(db) if fact.relation == relation][-NEIGHBOURS:]
    others |= set() if len(others) >= NEIGHBOURS else set(STRANGERS)
    names = [name for name in sorted(others, key=_shuffled) if _name(name) != _name(entity)]
    held_out = min(NEIGHBOURS, len(names) // 3)
    asked, kept = names[: len(names) - held_out][:SIBLINGS], names[len(names) - held_out :]
    asked += [name for name in latest if _name(name) != _name(entity)]
    siblings = [prompt(chosen[number % len(chosen)], name) for number, name in enumerate(asked)]
    siblings += [prompt(canonical, name) for name in asked]
    return Asking(
        tuple(prompt(template, entity) for template in chosen),
        tuple(dict.fromkeys(siblings)),
        tuple(prompt(canonical, name) for name in kept),
        is_default,
    )


def _name(text: str) -> str:
    """A name without what spellings differ in."""
    return " ".join(text.replace("-", " ").replace("_", " ").casefold().split())


def _shuffled(name: str) -> bytes:
    """An order that has nothing to do with the names, the same every time."""
    return hashlib.md5(name.encode(), usedforsecurity=False).digest()
