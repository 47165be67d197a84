"""What the report shows, read by SQL from the file alone.

A belief is the surest edge of an entity and a relation: what the model would be taken to say. Whether it is right is
what ``facts`` say of it, compared as probes compare answers (``answers.key``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from larqldb.knowledge.answers import key
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw

WRONG, PIECES, TOKENS = 30, 7, 5  # rows of the table of errors; pieces of an example's evidence; tokens of a feature

_BELIEFS = """
WITH belief AS MATERIALIZED (
  SELECT edge_id, entity, relation, target, confidence, probability, agreement FROM (
    SELECT *, row_number() OVER (
      PARTITION BY relation, entity ORDER BY confidence DESC, probability DESC, edge_id
    ) AS place FROM edge_records WHERE source = 'probe' AND edge_id NOT IN hidden_edges
  ) WHERE place = 1
)
"""
_EVIDENCE = f"""{_BELIEFS}
SELECT b.relation, v.kind, v.layer, sum(v.contribution), sum(abs(v.contribution))
FROM belief AS b CROSS JOIN edge_evidence AS v ON v.edge_id = b.edge_id GROUP BY 1, 2, 3
"""
_EDGES = "SELECT relation, count(*) FROM edge_records WHERE source = 'probe' GROUP BY 1"
_WORDINGS = "SELECT relation, count(DISTINCT template) FROM probes GROUP BY 1"
_LABELLED = "SELECT relation, count(DISTINCT layer * 4294967296 + feature) FROM feature_relations GROUP BY 1"
_STATED = """
SELECT f.relation, f.entity, f.target, a.value FROM facts AS f LEFT JOIN json_each(f.aliases) AS a
ORDER BY f.relation, f.entity, f.target
"""
_COUNTS = {
    "Entities asked about": "SELECT count(DISTINCT entity) FROM probes",
    "Questions asked": "SELECT count(*) FROM probes",
    "Edges from running the model": "SELECT count(*) FROM edge_records WHERE source = 'probe'",
    "Pieces of evidence": "SELECT count(*) FROM edge_evidence",
    "Facts stated by sources": "SELECT count(*) FROM facts",
    "Features with a relation": "SELECT count(*) FROM features WHERE relation IS NOT NULL",
    "Associations read off the weights": "SELECT count(*) FROM edge_records WHERE source = 'static'",
}


@dataclass(frozen=True)
class Belief:
    """The surest edge of an entity and a relation; ``stated`` is what sources say, ``right`` None where none does."""

    edge_id: int
    entity: str
    relation: str
    target: str
    confidence: float
    probability: float
    agreement: float
    stated: tuple[str, ...]
    right: bool | None


@dataclass(frozen=True)
class Contribution:
    """What heads or features of a layer add to the logits of a relation's beliefs: mean, and mean of the sizes."""

    net: float
    gross: float


@dataclass
class Relation:
    """A relation that was asked about. ``by_layer`` is (head or feature, layer) → contribution."""

    name: str
    wordings: int = 0
    edges: int = 0
    labelled: int = 0
    beliefs: list[Belief] = field(default_factory=list)
    by_layer: dict[tuple[str, int], Contribution] = field(default_factory=dict)

    @property
    def right(self) -> int:
        """Beliefs that sources agree with."""
        return sum(belief.right is True for belief in self.beliefs)

    @property
    def wrong(self) -> int:
        """Beliefs that sources contradict."""
        return sum(belief.right is False for belief in self.beliefs)

    @property
    def confidence(self) -> float:
        """The mean of its beliefs."""
        return sum(belief.confidence for belief in self.beliefs) / len(self.beliefs) if self.beliefs else 0.0

    def total(self, kind: str) -> Contribution:
        """What all heads, or all features, add."""
        parts = [part for (of, _), part in self.by_layer.items() if of == kind]
        return Contribution(sum(part.net for part in parts), sum(part.gross for part in parts))

    @property
    def strongest_layers(self) -> list[int]:
        """The three layers that add most."""
        net: dict[int, float] = defaultdict(float)
        for (_, layer), part in self.by_layer.items():
            net[layer] += part.net
        return sorted(net, key=lambda layer: (-net[layer], layer))[:3]


@dataclass(frozen=True)
class Piece:
    """A piece of evidence; ``tokens`` are what a feature promotes most."""

    kind: str
    layer: int
    number: int
    contribution: float
    share: float
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class Knowledge:
    """All that the report shows. ``layers`` are rows of the table by name, ``bins`` those of ``calibration``."""

    model: dict[str, Any]
    made_at: str
    counts: dict[str, int]
    layers: list[dict[str, Any]]
    relations: list[Relation]
    bins: list[tuple[float, float, int]]

    @property
    def beliefs(self) -> Iterator[Belief]:
        """Those of all relations."""
        return (belief for relation in self.relations for belief in relation.beliefs)

    @property
    def error(self) -> float | None:
        """The expected calibration error: mean distance of a bin's confidence to what held, weighted by its edges."""
        total = sum(count for *_, count in self.bins)
        return sum(abs(mean - held) * count for mean, held, count in self.bins) / total if total else None

    @property
    def errors(self) -> list[Belief]:
        """What the model gets wrong, surest first."""
        wrong = [belief for belief in self.beliefs if belief.right is False]
        return sorted(wrong, key=lambda one: (-one.confidence, one.relation, one.entity))[:WRONG]

    @property
    def examples(self) -> list[Belief]:
        """The surest belief of each relation, a right one where there is one."""
        best = [
            min(relation.beliefs, key=lambda one: (one.right is not True, -one.confidence, one.entity))
            for relation in self.relations
            if relation.beliefs
        ]
        return sorted(best, key=lambda one: (-one.confidence, one.relation))


def read(db: apsw.Connection) -> Knowledge:
    """Read what the report shows."""
    columns = (
        "layer", "band", "features", "labelled", "gate_norm", "down_norm", "alignment", "spread", "answers_read",
        "knockout",
    )  # fmt: skip
    layers = fetch(db, f"SELECT {', '.join(columns)} FROM layers ORDER BY layer")
    return Knowledge(
        model=dict(fetch(db, "SELECT key, value FROM model")),
        made_at=str(fetch(db, "SELECT min(applied_at) FROM migrations")[0][0] or ""),
        counts={what: int(fetch(db, sql)[0][0]) for what, sql in _COUNTS.items()},
        layers=[dict(zip(columns, row, strict=True)) for row in layers],
        relations=_relations(db),
        bins=fetch(db, "SELECT confidence, observed, edges FROM calibration ORDER BY bin"),
    )


def _relations(db: apsw.Connection) -> list[Relation]:
    """Those that were asked about, the ones with most edges first."""
    found: dict[str, Relation] = {}
    for name, wordings in fetch(db, _WORDINGS):
        found[name] = Relation(name, wordings)
    for name, edges in fetch(db, _EDGES):
        found.setdefault(name, Relation(name)).edges = edges
    for belief in _beliefs(db):
        found[belief.relation].beliefs.append(belief)
    for name, kind, layer, net, gross in fetch(db, _EVIDENCE):
        asked = len(found[name].beliefs)
        found[name].by_layer[kind, layer] = Contribution(net / asked, gross / asked)
    for name, labelled in fetch(db, _LABELLED):
        if name in found:
            found[name].labelled = labelled
    return sorted(found.values(), key=lambda relation: (-relation.edges, relation.name))


def _beliefs(db: apsw.Connection) -> Iterator[Belief]:
    stated: dict[tuple[str, str], list[str]] = defaultdict(list)
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for relation, entity, target, alias in db.execute(_STATED):
        about = relation, entity
        if target not in stated[about]:
            stated[about].append(target)
            names[about].add(key(target))
        if alias is not None:
            names[about].add(key(str(alias)))
    for edge_id, entity, relation, target, *numbers in db.execute(f"{_BELIEFS} SELECT * FROM belief ORDER BY edge_id"):
        about = relation, entity
        right = key(target) in names[about] if about in stated else None
        confidence, probability, agreement = (number or 0.0 for number in numbers)
        said = tuple(stated.get(about, ()))
        yield Belief(edge_id, entity, relation, target, confidence, probability, agreement, said, right)


def evidence(db: apsw.Connection, edge_id: int) -> list[Piece]:
    """What adds most to an edge's logit."""
    rows = fetch(
        db,
        "SELECT kind, v.layer, number, contribution, contribution / logit FROM edge_evidence AS v "
        "JOIN edge_records USING (edge_id) WHERE edge_id = ? AND contribution > 0 "
        "ORDER BY contribution DESC, rank LIMIT ?",
        (edge_id, PIECES),
    )
    return [
        Piece(kind, layer, number, contribution, share, _tokens(db, layer, number) if kind == "feature" else ())
        for kind, layer, number, contribution, share in rows
    ]


def _tokens(db: apsw.Connection, layer: int, feature: int) -> tuple[str, ...]:
    rows = fetch(
        db,
        "SELECT t.text FROM feature_tokens AS f JOIN tokens AS t USING (token_id) "
        "WHERE f.layer = ? AND f.feature = ? ORDER BY f.rank LIMIT ?",
        (layer, feature, TOKENS),
    )
    return tuple(text for (text,) in rows)
