"""What is known of a model, as rows: relations with their wordings, facts, probes, edges and their evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from larqldb.errors import ProgrammingError
from larqldb.knowledge import contributors
from larqldb.knowledge.answers import key
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw

    from larqldb.knowledge.ask import Answer
    from larqldb.knowledge.edges import Edge
    from larqldb.knowledge.packs import Fact
    from larqldb.knowledge.support import Given

_EDGE = """
INSERT INTO edge_records
  (entity, relation, target, layer, feature, score, confidence, source, probability, agreement, logit, decisive)
VALUES (?, ?, ?, ?, ?, ?, ?, 'probe', ?, ?, ?, ?) RETURNING edge_id
"""
_EVIDENCE = """
INSERT INTO edge_evidence (edge_id, rank, head, layer, number, contribution, wordings)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
# Names that no feature promotes get a row when they have an edge: where its strongest evidence is.
_NEW_ENTITY = """
INSERT OR IGNORE INTO entities (entity, layer, features, score)
SELECT entity, layer, 0, max(score) FROM edge_records WHERE entity = ? GROUP BY entity
"""
_ENTITY = """
UPDATE entities SET (edges, confidence) = (SELECT count(*), max(confidence) FROM edge_records WHERE entity = ?1)
WHERE entity = ?1
"""


def add_relation(db: apsw.Connection, name: str, description: str | None, source: str) -> None:
    """Have a relation; ProgrammingError where another's name differs in capitals only."""
    similar = fetch(db, "SELECT name FROM relations WHERE name = ?1 COLLATE NOCASE AND name <> ?1", (name,))
    if similar:
        raise ProgrammingError(f"there is a relation {similar[0][0]!r} already; {name!r} differs in capitals only")
    db.execute(
        "INSERT OR IGNORE INTO relations (name, description, source) VALUES (?, ?, ?)", (name, description, source)
    )


def replace_templates(db: apsw.Connection, relation: str, templates: Sequence[str]) -> None:
    """Make a relation's wordings these."""
    db.execute("DELETE FROM relation_templates WHERE relation = ?", (relation,))
    db.executemany("INSERT INTO relation_templates VALUES (?, ?)", ((relation, template) for template in templates))


def templates_of(db: apsw.Connection, relation: str) -> list[str]:
    """A relation's wordings."""
    rows = fetch(db, "SELECT template FROM relation_templates WHERE relation = ? ORDER BY template", (relation,))
    return [template for (template,) in rows]


def add_facts(db: apsw.Connection, relation: str, facts: Iterable[Fact], source: str) -> None:
    """State facts of a relation, in place of what was stated of the same."""
    db.executemany(
        "INSERT INTO facts (relation, entity, target, aliases, source) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET aliases = excluded.aliases, source = excluded.source",
        (
            (relation, f.entity, f.target, json.dumps(f.aliases, ensure_ascii=False) if f.aliases else None, source)
            for f in facts
        ),
    )


def facts_of(db: apsw.Connection, relation: str) -> dict[str, list[str]]:
    """The right answers of a relation by entity: targets, then their other spellings."""
    stated: dict[str, list[str]] = {}
    others: dict[str, list[str]] = {}
    rows = fetch(
        db, "SELECT entity, target, aliases FROM facts WHERE relation = ? ORDER BY entity, target", (relation,)
    )
    for entity, target, aliases in rows:
        stated.setdefault(entity, []).append(target)
        others.setdefault(entity, []).extend(json.loads(aliases) if aliases else ())
    return {entity: targets + others[entity] for entity, targets in stated.items()}


def spellings(db: apsw.Connection, relation: str, entity: str) -> dict[str, str]:
    """How the facts of an entity write its targets and their other names, by ``answers.key``; targets go first."""
    rows = fetch(db, "SELECT target, aliases FROM facts WHERE relation = ? AND entity = ?", (relation, entity))
    others = [alias for _, aliases in rows if aliases for alias in json.loads(aliases)]
    return {key(name): name for name in [*others, *(target for target, _ in rows)]}


def has_domain(db: apsw.Connection, relation: str) -> bool:
    """Whether it is known what a relation is asked about."""
    return bool(fetch(db, "SELECT 1 FROM relation_domains WHERE relation = ?", (relation,)))


def probed(db: apsw.Connection, relation: str) -> dict[str, dict[str, Given]]:
    """What was asked of a relation: entity → wording → answers and their probabilities, the one given first."""
    found: dict[str, dict[str, Given]] = {}
    rows = fetch(db, "SELECT entity, template, answer, probability, others FROM probes WHERE relation = ?", (relation,))
    for entity, template, answer, probability, others in rows:
        close = [(text, chance) for text, chance in json.loads(others or "[]")]
        found.setdefault(entity, {})[template] = [(answer, probability), *close]
    return found


def probed_relations(db: apsw.Connection) -> list[str]:
    """The relations that were asked about."""
    return [name for (name,) in fetch(db, "SELECT DISTINCT relation FROM probes ORDER BY relation")]


def write_entity(
    db: apsw.Connection,
    relation: str,
    entity: str,
    answers: Mapping[str, Answer],
    edges: Sequence[tuple[Edge, float]],
) -> None:
    """Put what the wordings showed of an entity, and its edges with their confidence, in place of what was there."""
    forget(db, relation, entity)
    db.executemany(
        "INSERT INTO probes (relation, entity, template, answer, probability, others) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (relation, entity, template, *given, json.dumps(others, ensure_ascii=False))
            for template, (given, *others) in ((template, answer.given) for template, answer in answers.items())
        ),
    )
    for edge, confidence in edges:
        proof, support = edge.evidence, edge.support
        most = proof.feature
        place = (most.layer, most.number, most.contribution) if most else (None, None, None)
        rated = (confidence, support.probability, support.agreement)
        values = (entity, relation, edge.target, *place, *rated, proof.logit, proof.decisive)
        ((edge_id,),) = fetch(db, _EDGE, values)
        db.executemany(
            _EVIDENCE,
            (
                (edge_id, rank, p.kind == "head", p.layer, p.number, p.contribution, p.wordings)
                for rank, p in enumerate(proof.pieces, start=1)
            ),
        )
        if edge.contributors is not None:
            contributors.write(db, edge_id, edge.contributors)
    db.execute(_NEW_ENTITY, (entity,))
    db.execute(_ENTITY, (entity,))


def forget(db: apsw.Connection, relation: str, entity: str) -> None:
    """Take out what was asked of an entity and a relation, and the edges it made."""
    db.execute("DELETE FROM probes WHERE relation = ? AND entity = ?", (relation, entity))
    db.execute("DELETE FROM edge_records WHERE source = 'probe' AND relation = ? AND entity = ?", (relation, entity))
