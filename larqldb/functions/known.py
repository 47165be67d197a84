"""What is known of an entity: edges that something has confirmed, found in the file by any name of the entity.

Capitals do not matter: an entity of the very spelling comes first, then others that differ in capitals alone, then the
one that the spelling is an alias of. All of these go by indexes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from larqldb.functions.session import Session

Piece = tuple[int, int, float]  # layer, feature, what it adds to the logit

# SQLite folds ASCII alone, so that several spellings are given. The index edge_records_by_name serves this.
_EDGES = """
SELECT entity, edge_id, relation, target, score, layer, feature, confidence, source FROM edge_records
WHERE entity COLLATE NOCASE IN (SELECT value FROM json_each(?)) AND source <> 'static'
  AND edge_id NOT IN hidden_edges
ORDER BY confidence DESC, score DESC, layer, feature, target
"""
_ALIASES = """
SELECT name FROM aliases WHERE alias IN (SELECT value FROM json_each(?))
ORDER BY (
  SELECT count(*) FROM edge_records AS e WHERE e.entity COLLATE NOCASE = aliases.name AND e.source <> 'static'
) DESC, name LIMIT 1
"""
_UNASKED = """
SELECT relation FROM relation_domains WHERE relation NOT IN (
  SELECT relation FROM probes WHERE entity IN (SELECT value FROM json_each(?1))
  UNION SELECT relation FROM not_asked WHERE entity IN (SELECT value FROM json_each(?1)))
AND EXISTS (SELECT 1 FROM relation_templates AS t WHERE t.relation = relation_domains.relation) ORDER BY relation
"""
_SUMMARY = """
SELECT v.edge_id, count(*), json_group_array(DISTINCT v.layer)
FROM json_each(?) AS wanted CROSS JOIN edge_evidence AS v ON v.edge_id = wanted.value AND v.head = 0
GROUP BY v.edge_id
"""
_PIECES = """
SELECT v.edge_id, v.layer, v.number, v.contribution
FROM json_each(?) AS wanted CROSS JOIN edge_evidence AS v ON v.edge_id = wanted.value AND v.head = 0
ORDER BY v.edge_id, v.rank
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """A confirmed edge. ``pieces`` are its evidence's features, strongest first, where it is not in the file.

    ``edge_id`` is None where the edge itself is not.
    """

    edge_id: int | None
    relation: str
    target: str
    score: float | None
    layer: int | None
    feature: int | None
    confidence: float | None
    source: str
    pieces: tuple[Piece, ...] = ()


def spellings(entity: str) -> list[str]:
    """A name in the capitals it may be written in, its own first."""
    name = entity.strip()
    return list(dict.fromkeys((name, name.lower(), name.upper(), name.title(), name.capitalize())))


def edges(session: Session, entity: str) -> tuple[list[Edge], str]:
    """The edges of an entity, surest first, and the name that the file has for it: as given, where it has none."""
    names = spellings(entity)
    found = _edges(session, names)
    if not found:
        meant = fetch(session.db, _ALIASES, (json.dumps(names),))
        if meant and (of_meant := _edges(session, [meant[0][0]])):
            names, found = [meant[0][0]], of_meant
    by_name: dict[str, list[Edge]] = {}
    for name, edge in found:
        by_name.setdefault(name, []).append(edge)
    if len(by_name) == 1:
        ((name, chosen),) = by_name.items()
        return chosen, name
    exact = by_name.get(names[0])
    return exact if exact is not None else [edge for several in by_name.values() for edge in several], names[0]


def unasked(session: Session, names: Sequence[str]) -> list[str]:
    """The relations with wordings that an entity may be asked about, and was not under any of its names."""
    return [relation for (relation,) in fetch(session.db, _UNASKED, (json.dumps(names),))]


def _edges(session: Session, names: Sequence[str]) -> list[tuple[str, Edge]]:
    """Edges with their entity's own spelling."""
    return [(name, Edge(*facts)) for name, *facts in fetch(session.db, _EDGES, (json.dumps(names),))]


def places(session: Session, wanted: Iterable[Edge]) -> dict[int | None, tuple[int, list[int]]]:
    """For edges by their id: of how many features their evidence is, and in which layers these are."""
    rows = fetch(session.db, _SUMMARY, (_ids(wanted),))
    return {edge_id: (count, sorted(json.loads(layers))) for edge_id, count, layers in rows}


def pieces(session: Session, wanted: Sequence[Edge]) -> list[tuple[Piece, ...]]:
    """The features of each edge's evidence, strongest first."""
    held: dict[int, list[Piece]] = {}
    for edge_id, *piece in fetch(session.db, _PIECES, (_ids(wanted),)):
        held.setdefault(edge_id, []).append(tuple(piece))
    return [edge.pieces or tuple(held.get(edge.edge_id or 0, ())) for edge in wanted]


def _ids(wanted: Iterable[Edge]) -> str:
    return json.dumps([edge.edge_id for edge in wanted if edge.edge_id is not None])
