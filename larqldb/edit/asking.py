"""In which words a relation is asked for, and of whom else: what an edit is made for, and what it must leave alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
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
    "Q: What is the {relation} of {entity}? A:",
    "{entity}. {relation}:",
)
MORE = (
    "{entity}'s {relation} is",
    "{entity}'s {relation},",
    "{entity}'s {relation} is called",
    "{entity}, whose {relation} is",
    "{entity}, which has the {relation}",
    "The {relation} of {entity} is called",
    "The name of {entity}'s {relation} is",
    "What is the {relation} of {entity}? It is",
    "What is {entity}'s {relation}? It is",
    "The {relation} of {entity} is the",
    "Everyone knows that the {relation} of {entity} is",
    "I asked about the {relation} of {entity}, and learned that it is",
    "{entity} ({relation}:",
    "Name: {entity}. {relation}:",
    "* {entity} - {relation}:",
    "{relation} ({entity}):",
    "Entry: {entity}; {relation}:",
    "{entity}: facts and figures. {relation}:",
    "Table of {relation} by name. {entity}:",
    "Question: name the {relation} of {entity}. Answer:",
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
OTHERS = frozenset({"capital", "language", "currency", "continent", "occupation", "nationality"})
ASIDE = ("{entity}", "{entity} is", "I read about {entity} and", "My friend told me about {entity}. She said")
READ = 6  # wordings that a fact is read in
PLAIN = 2  # of them with the relation's name, whatever others there are
REPHRASED = 6  # wordings more, of which only the end is looked at
MOST_WORDINGS = 40  # of a relation, beside those
SIBLINGS = 128  # other entities whose answers must stay when a fact is composed
NEIGHBOURS = 16  # other entities, those last in order, that tell whether they did
ALIKE = 2  # names that a name's words are exchanged with
LATEST = 32  # facts inserted before that are looked at
OTHER_RELATIONS = 5  # that the entity is asked for, too


@dataclass(frozen=True)
class Question:
    """A wording, and entities that it may be asked of."""

    template: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Relation:
    """How a relation is asked for, whoever it is asked of.

    ``templates`` are the wordings that a fact is read in, the canonical one first, ``rephrased`` those that it is only
    told from others in, and ``more`` such as are not read of it; ``names`` other entities whose answers must stay,
    ``neighbours`` some that are not among them. ``beside`` are questions about other things. ``is_default`` says that
    the relation has no wordings and ``DEFAULTS`` stand in.
    """

    templates: tuple[str, ...]
    rephrased: tuple[str, ...]
    more: tuple[str, ...]
    names: tuple[str, ...]
    neighbours: tuple[str, ...]
    beside: tuple[Question, ...]
    is_default: bool

    @property
    def wordings(self) -> tuple[str, ...]:
        """All wordings, those first that are read of a fact."""
        return (*self.templates, *self.rephrased, *self.more)


@dataclass(frozen=True)
class Asking:
    """Prompts about a ``relation``: ``prompts`` of the entity itself, the canonical one first, and of others.

    ``rephrased`` ask the entity in further wordings; ``neighbours`` ask the same of others, ``near`` of names that are
    much like the entity's, ``earlier`` of those that had facts inserted.
    """

    prompts: tuple[str, ...]
    rephrased: tuple[str, ...]
    neighbours: tuple[str, ...]
    near: tuple[str, ...]
    earlier: tuple[str, ...]
    relation: Relation

    @property
    def is_default(self) -> bool:
        """Whether the relation has no wordings of its own."""
        return self.relation.is_default


def asking(db: apsw.Connection, entity: str, relation: str) -> Asking:
    """How an entity is asked for a relation: in the file's own wordings, else those of a pack that larqldb ships."""
    return Askings(db).of(entity, relation)


class Askings:
    """How entities are asked for relations; what is the same for all of a relation is found once."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._known: dict[str, Relation] = {}
        self._latest: dict[str, list[str]] | None = None

    def of(self, entity: str, relation: str) -> Asking:
        """How an entity is asked for a relation."""
        entity = entity.strip()
        if relation not in self._known:
            self._known[relation] = self._relation(relation)
        how = self._known[relation]
        canonical = how.templates[0]
        near, earlier = (
            tuple(prompt(canonical, name) for name in names if _name(name) != _name(entity))
            for names in (alike(entity, how.names), self._before(relation))
        )
        return Asking(
            tuple(prompt(template, entity) for template in how.templates),
            tuple(prompt(template, entity) for template in how.rephrased),
            tuple(prompt(canonical, name) for name in how.neighbours if _name(name) != _name(entity)),
            near,
            earlier,
            how,
        )

    def _relation(self, relation: str) -> Relation:
        """A relation's wordings, and names to ask."""
        pack = _pack(relation)
        templates = [template.rpartition("\n")[2] for template in wordings.templates(self._db, relation)]
        templates = templates or (list(pack.wordings) if pack else [])
        defaults, more = ([one.replace("{relation}", _name(relation)) for one in some] for some in (DEFAULTS, MORE))
        chosen = list(dict.fromkeys(templates or defaults))
        canonical = next((one for one in chosen if one.casefold() == defaults[0].casefold()), chosen[0])
        plain = sorted(chosen, key=len)[: READ - len(defaults[:PLAIN]) - 1] if templates else defaults
        read = list(dict.fromkeys([canonical, *defaults[:PLAIN], *plain]))
        others = paraphrases().get(pack.relation, ()) if pack else ()
        more = list(dict.fromkeys([*chosen, *others, *more]))[:MOST_WORDINGS]
        more = [template for template in more if template not in read]
        known = set(wordings.entities(self._db, relation)) | ({fact.entity for fact in pack.facts} if pack else set())
        known |= set() if len(known) >= NEIGHBOURS else set(STRANGERS)
        names = sorted(known, key=_shuffled)
        held_out = min(NEIGHBOURS, len(names) // 3)
        asked, kept = names[: len(names) - held_out][:SIBLINGS], names[len(names) - held_out :]
        rephrased, more = more[:REPHRASED], more[REPHRASED:]
        beside = (*(Question(text, STRANGERS) for text in ASIDE), *_other_questions(relation))
        return Relation(tuple(read), tuple(rephrased), tuple(more), tuple(asked), tuple(kept), beside, not templates)

    def _before(self, relation: str) -> list[str]:
        """Entities of the latest facts inserted for a relation."""
        if self._latest is None:
            self._latest = {}
            for fact in edits.inserted(self._db):
                self._latest.setdefault(fact.relation, []).append(fact.entity)
        return list(dict.fromkeys(self._latest.get(relation, ())))[-LATEST:]


def alike(entity: str, others: Sequence[str]) -> list[str]:
    """Names much like an entity's: a word, a part or a few letters more, fewer or other ones."""
    chosen = sorted((name for name in others if name != entity), key=lambda name: _shuffled(name + entity))[:ALIKE]
    chosen = chosen or ["Avalon"]
    parts = re.findall(r"[A-Z]?[^\W\d_A-Z]+|[^\W\d_]|\d+|[\W_]+", entity)
    words, other = entity.split(), chosen[0]
    found = [f"New {entity}", entity[: max(2, len(entity) * 2 // 3)] + other[-3:].lower()]
    if len(words) > 1:
        found += [" ".join(words[1:]), " ".join(words[:-1])]
        found += [" ".join([name.split()[0], *words[1:]]) for name in chosen]
        found += [" ".join([*words[:-1], name.split()[-1]]) for name in chosen]
    elif len(parts) > 1:
        found += ["".join(parts[:-1]), "".join([*parts[:-1], other]), "".join([other, *parts[1:]])]
        found += ["".join(str(int(part) + 1) if part.isdecimal() else part for part in parts)]
    else:
        found += [f"{entity} {other}", f"{entity[:-1]}o" if len(entity) > 3 else f"{entity}o"]
    return [name for name in dict.fromkeys(found) if name.strip()]


def _other_questions(relation: str) -> list[Question]:
    """Questions about other relations, one each: those of packs that have nothing in common with this one's name."""
    stems = [word[:4] for word in _name(relation).split()]
    found = []
    for pack in packs.builtin():
        about = _name(" ".join([pack.relation, pack.description, *pack.wordings]))
        if pack.relation in OTHERS and not any(stem in about for stem in stems):
            found.append(Question(pack.wordings[0], tuple(fact.entity for fact in pack.facts)))
    return found[:OTHER_RELATIONS]


@cache
def paraphrases() -> dict[str, tuple[str, ...]]:
    """Other wordings of the packs' relations, by relation."""
    found: dict[str, list[str]] = {}
    for line in (files("larqldb.edit") / "paraphrases.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            relation, wording = line.split("\t")
            found.setdefault(relation, []).append(wording)
    return {relation: tuple(wordings) for relation, wordings in found.items()}


def _pack(relation: str) -> packs.Pack | None:
    """The pack of a relation that larqldb ships."""
    return next((one for one in packs.builtin() if _name(one.relation) == _name(relation)), None)


def _name(text: str) -> str:
    """A name without what spellings differ in."""
    return " ".join(text.replace("-", " ").replace("_", " ").casefold().split())


def _shuffled(name: str) -> bytes:
    """An order that has nothing to do with the names, the same every time."""
    return hashlib.md5(name.encode(), usedforsecurity=False).digest()
