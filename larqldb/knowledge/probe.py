"""Probing: asking a model about relations and writing down the edges that its answers make."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from larqldb.errors import OperationalError, ProgrammingError
from larqldb.functions.session import Session
from larqldb.knowledge import packs, records
from larqldb.knowledge.answers import key
from larqldb.knowledge.ask import TOGETHER, Asker, ask_all
from larqldb.knowledge.calibrate import calibrate, calibration
from larqldb.knowledge.domains import Domains
from larqldb.knowledge.edges import edges
from larqldb.knowledge.labels import label
from larqldb.knowledge.packs import Fact
from larqldb.knowledge.wordings import check, check_entity, check_lengths, with_worked
from larqldb.knowledge.wordings import templates as pack_templates
from larqldb.storage import edits
from larqldb.storage.database import fetch, open_database

if TYPE_CHECKING:
    from larqldb.knowledge.packs import Pack

Progress = Callable[[str, int, int], None]
Facts = str | os.PathLike[str] | Mapping[str, str | Sequence[str]] | Iterable[Sequence[str]]
EXAMPLES = 3
CACHE_MB = 1024  # what down and attention matrices may take, which evidence is read off


@dataclass(frozen=True)
class Probed:
    """One relation of a probe: ``asked`` counts prompts that were run now, not those found answered.

    ``edges`` is how many it has now; of ``stated`` entities with facts, ``right`` have one as their surest edge.
    """

    relation: str
    entities: int
    wordings: int
    asked: int
    edges: int
    stated: int
    right: int


@dataclass(frozen=True)
class ProbeReport:
    """What a probe did, relation by relation, in ``seconds`` of wall time."""

    path: str
    relations: tuple[Probed, ...]
    seconds: float

    @property
    def asked(self) -> int:
        """Prompts that were run."""
        return sum(each.asked for each in self.relations)

    @property
    def edges(self) -> int:
        """Edges that the relations have."""
        return sum(each.edges for each in self.relations)

    def rows(self) -> Iterator[tuple[str, int, int, int, int, int, int]]:
        """Its relations, as (relation, entities, wordings, asked, edges, stated, right)."""
        for each in self.relations:
            yield (
                each.relation, each.entities, each.wordings, each.asked, each.edges, each.stated, each.right
            )  # fmt: skip


@dataclass(frozen=True)
class Request:
    """A relation to ask about.

    ``templates``: the wordings it shall have; None keeps those in the file, or takes the pack's where there are none.
    ``facts`` are added to those in the file. ``entities`` are asked about besides the facts' and those asked before.
    """

    relation: str
    description: str | None = None
    origin: str = "user"  # of the relation: user or pack
    templates: tuple[str, ...] | None = None
    default_templates: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    source: str = "user"  # of the facts
    entities: tuple[str, ...] = ()
    examples: int = EXAMPLES

    @classmethod
    def of(
        cls,
        relation: object,
        *,
        templates: Sequence[str] | None,
        facts: Facts | None,
        entities: Iterable[str] | None,
        examples: int = EXAMPLES,
    ) -> Request:
        """A user's request, checked; a relation of None is the one that the file of facts names."""
        if isinstance(templates, str) or isinstance(entities, str):
            raise ProgrammingError("templates and entities are lists of texts: put a single one into [ ]")
        wordings = None if templates is None else tuple(dict.fromkeys(check(template) for template in templates))
        pack = None
        if isinstance(facts, str | os.PathLike):
            pack = packs.read(Path(facts), relation=None if relation is None else _name(relation))
            stated = list(pack.facts)
        else:
            stated = _facts(facts)
        return cls(
            relation=pack.relation if pack else _name(relation),
            description=(pack.description or None) if pack else None,
            templates=wordings,
            default_templates=tuple(pack_templates(pack)) if pack else (),
            facts=tuple(stated),
            source=pack.source if pack else "user",
            entities=tuple(entities or ()),
            examples=examples,
        )

    @classmethod
    def of_pack(cls, pack: Pack) -> Request:
        """All that a pack holds; wordings that the file has for its relation stay."""
        return cls(
            pack.relation, pack.description, "pack",
            default_templates=tuple(pack_templates(pack)), facts=pack.facts, source=pack.source,
        )  # fmt: skip


def builtin_requests(names: Sequence[str] = ()) -> list[Request]:
    """The built-in relations, all or those named; other names stand for relations that the file holds."""
    known = {pack.relation: Request.of_pack(pack) for pack in packs.builtin()}
    return [known.get(name) or Request(name) for name in names] if names else list(known.values())


def probe(
    path: str | os.PathLike[str],
    *,
    relation: str,
    templates: Sequence[str],
    facts: Facts | None = None,
    entities: Iterable[str] | None = None,
    examples: int = EXAMPLES,
    progress: Progress | None = None,
) -> ProbeReport:
    """Ask the model in a vindex about a relation and write the edges that its answers make.

    It is the model itself that is asked: facts that edits inserted are edges of their own.

    ``templates`` are wordings that stop where the answer begins and name the entity as ``{entity}``; lines before the
    last are worked examples. One without is asked as it is, and once more with ``examples`` of the facts before it: a
    base model would not know what is wanted. Confidence is worth something from three wordings on. ``facts`` say what
    is right, whatever the model says: the path of a TSV file (entity, target, aliases between ``|``), a mapping from
    entity to target or targets, or rows of (entity, target, alias …). Their entities are asked about, and ``entities``.
    ``progress`` is called with what is being done, the prompts done and the prompts in all.

    What was asked before in the same wordings is not asked again, so an interrupted probe goes on where it stopped;
    other wordings replace the relation's, and its edges. Raises ProgrammingError for wordings without ``{entity}``,
    nobody to ask about, or a name that differs from another relation's in capitals only; BadFacts for a file that is
    no TSV; BadPrompt for an entity without tokens; MissingPart where the vindex does not hold the network;
    OperationalError where it cannot be written.
    """
    if not templates:
        raise ProgrammingError(f"relation {relation!r} has no templates. Give at least one that holds {{entity}}")
    return run(
        path, [Request.of(relation, templates=templates, facts=facts, entities=entities, examples=examples)], progress
    )


def run(path: str | os.PathLike[str], requests: Sequence[Request], progress: Progress | None = None) -> ProbeReport:
    """Ask about several relations. Errors as of ``probe``."""
    with closing(open_database(path)) as db:
        if db.readonly("main"):
            raise OperationalError(
                f"{os.fspath(path)} is read-only, and a probe writes to it. Make it writable or copy it"
            )
        prober = Prober(Session(db, cache_mb=CACHE_MB))
        with db:
            everyone = {request.relation: prober.prepare(request) for request in requests}
        return prober.run(path, everyone, progress)


class Prober:
    """Asks about the relations in a file, which must be writable."""

    def __init__(self, session: Session) -> None:
        session.require("inference", "probing", "attention weights and feature vectors of all layers")
        self._session, self._db = session, session.db

    def prepare(self, request: Request) -> list[str]:
        """Write a relation's wordings and facts; whom to ask about: the facts' entities, those asked before, and more.

        Raises ProgrammingError where there is nobody or the relation has no wordings, BadPrompt for an entity without
        tokens or a prompt longer than the model's context.
        """
        relation, db = request.relation, self._db
        kept = records.templates_of(db, relation)
        wordings = list(request.templates or kept or request.default_templates)
        if not wordings:
            raise ProgrammingError(
                f"relation {relation!r} has no templates. Give one, or INSERT INTO relation_templates VALUES "
                f"('{relation}', 'The {relation} of {{entity}} is')"
            )
        records.add_relation(db, relation, request.description, request.origin)
        records.add_facts(db, relation, request.facts, request.source)
        facts = records.facts_of(db, relation)
        shown = {fact.entity: [fact.target] for fact in request.facts} or facts
        wordings = with_worked([check(wording) for wording in wordings], kept, shown, request.examples)
        if set(wordings) != set(kept):
            records.replace_templates(db, relation, wordings)
        known = [*facts, *records.probed(db, relation), *request.entities]
        everyone = [check_entity(self._session.tokenizer, entity) for entity in dict.fromkeys(known)]
        if not everyone:
            raise ProgrammingError(f"there is nobody to ask about {relation!r}. Give facts or entities")
        check_lengths(self._session, wordings, everyone)
        return everyone

    def run(
        self, path: str | os.PathLike[str], relations: Mapping[str, Sequence[str]], progress: Progress | None
    ) -> ProbeReport:
        """Ask about entities of relations, some at a time, each of which is one transaction; then calibrate."""
        start = time.perf_counter()
        say = progress or (lambda what, done, total: None)
        wordings = {relation: records.templates_of(self._db, relation) for relation in relations}
        waiting = {relation: self._unasked(relation, entities) for relation, entities in relations.items()}
        total = sum(len(entities) * len(wordings[relation]) for relation, entities in waiting.items())
        asked = dict.fromkeys(relations, 0)
        asker = Asker(self._session) if total else None
        for relation, entities in waiting.items():
            for first in range(0, len(entities), TOGETHER):
                assert asker is not None
                some = entities[first : first + TOGETHER]
                say(relation, sum(asked.values()), total)
                self._ask(asker, relation, wordings[relation], some)
                asked[relation] += len(some) * len(wordings[relation])
        say("calibrating", total, total)
        with self._db:
            if unlearnt := [relation for relation in relations if not records.has_domain(self._db, relation)]:
                domains = Domains(self._session)
                for relation in unlearnt:
                    domains.learn(relation, relations[relation])
            calibrate(self._db)
        say("labelling features", total, total)
        label(self._session)
        made = tuple(
            self._probed(relation, len(entities), len(wordings[relation]), asked[relation])
            for relation, entities in relations.items()
        )
        return ProbeReport(os.fspath(path), made, time.perf_counter() - start)

    def _unasked(self, relation: str, entities: Sequence[str]) -> list[str]:
        """Those who have not been asked about in the relation's wordings, all of them and no others."""
        wordings = set(records.templates_of(self._db, relation))
        done = records.probed(self._db, relation)
        return [entity for entity in entities if set(done.get(entity, ())) != wordings]

    def _ask(self, asker: Asker, relation: str, wordings: Sequence[str], entities: Sequence[str]) -> None:
        """Ask about some entities in every wording and write what comes out."""
        answers = ask_all(self._session, asker, wordings, entities)
        sure = calibration(self._db)
        with self._db:
            for entity in entities:
                spellings = records.spellings(self._db, relation, entity)
                found = edges(list(answers[entity].values()), asker.parts, spellings)
                rated = [(edge, sure.of(edge.support, relation)) for edge in found]
                records.write_entity(self._db, relation, entity, answers[entity], rated)
            edits.show(self._db)  # what an edit deleted stays off the list

    def _probed(self, relation: str, entities: int, wordings: int, asked: int) -> Probed:
        surest: dict[str, str] = {}
        rows = fetch(
            self._db,
            "SELECT entity, target FROM edge_records WHERE relation = ? AND source = 'probe' "
            "ORDER BY confidence, probability",
            (relation,),
        )
        surest.update(rows)
        right = {
            entity: {key(name) for name in names} for entity, names in records.facts_of(self._db, relation).items()
        }
        hits = sum(key(surest.get(entity, "")) in names for entity, names in right.items())
        return Probed(relation, entities, wordings, asked, len(rows), len(right), hits)


def _name(relation: object) -> str:
    if not isinstance(relation, str) or not relation.strip():
        raise ProgrammingError(f"a relation's name must be text that is not blank, not {relation!r}")
    return relation.strip()


def _facts(facts: Mapping[str, str | Sequence[str]] | Iterable[Sequence[str]] | None) -> list[Fact]:
    """Facts from a mapping or rows."""
    rows: list[Fact] = []
    if isinstance(facts, Mapping):
        for entity, targets in facts.items():
            rows += [Fact(entity, target) for target in ([targets] if isinstance(targets, str) else targets)]
    else:
        for number, row in enumerate(facts or (), start=1):
            if isinstance(row, str) or len(row) < 2:
                raise ProgrammingError(f"fact {number} is {row!r}. Give entity and target, then other spellings")
            entity, target, *aliases = row
            rows.append(Fact(entity, target, tuple(aliases)))
    for fact in rows:
        if not all(isinstance(part, str) and part.strip() for part in (fact.entity, fact.target, *fact.aliases)):
            raise ProgrammingError(f"{fact} is no fact: entity, target and aliases must be text that is not blank")
    return rows
