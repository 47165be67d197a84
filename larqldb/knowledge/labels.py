"""Labels: which relations a feature serves, and how that is known.

From probes (``confirmed``): a feature serves a relation when it helps to write the answers about many of its entities,
and of more than chance would give it. It counts for an entity where it adds at least 0.3 % of the logit of the answer's
first token in two wordings or more (``contributors``), so that what one wording alone brings about is no evidence.
Were the relations of all answers shuffled, the count would follow the hypergeometric distribution exactly; the
probability of what was counted is held against that of all other counts at once, so that at most 1 % of what is
believed is chance.

From clusters: features of the knowledge band that make like steps (``clusters``). From patterns: what a feature's ten
tokens have in common as texts (``patterns``). Neither has run to confirm it. ``features.relation`` is the best of a
feature's relations, probes before clusters before patterns; ``feature_relations`` holds all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import OperationalError
from larqldb.knowledge import clusters as clustering
from larqldb.knowledge import contributors
from larqldb.knowledge.chance import log_chance, unlikely
from larqldb.knowledge.patterns import Patterns
from larqldb.knowledge.patterns import describe as describe_pattern
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

Row = tuple[int, int, str, str, int | None, float, float]  # of feature_relations

SOURCES = ("probe", "cluster", "pattern")  # the first is the best
RATE = 0.01  # of what is confirmed, the share that may be chance
MANY, MANY_SHARE = 5, 0.05  # entities a feature has to contribute to, and which share of the relation's
CLUSTERS, CLUSTERS_SEED = "clusters", "clusters_seed"  # properties of the model: how many there are, made from what


@dataclass(frozen=True)
class LabelReport:
    """What labelling found: of ``features``, how many got their relation from each source, and how many relations."""

    features: int
    labelled: dict[str, int]
    relations: dict[str, int]

    @property
    def confirmed(self) -> float:
        """The share of all features whose relation a probe has confirmed."""
        return self.labelled["probe"] / self.features if self.features else 0.0

    def rows(self) -> Iterator[tuple[str, int, int, float]]:
        """By source: source, relations, features, their share of all features."""
        for source in SOURCES:
            count = self.labelled[source]
            yield source, self.relations[source], count, count / self.features if self.features else 0.0


@dataclass(frozen=True)
class Contributions:
    """What probes showed of features: answers about entities, and the features that helped to write each.

    ``relations`` are names and ``relation`` [answers] the number of each answer's. A contribution is ``answer`` [n],
    ``feature`` [n] and ``size`` [n], what it adds to the logit; a feature is a number, ``places`` [features, 2] its
    layer and feature. No pair of answer and feature is there twice.
    """

    relations: tuple[str, ...]
    relation: Integers
    answer: Integers
    feature: Integers
    size: Floats
    places: Integers


@dataclass(frozen=True)
class Confirmed:
    """Features that serve relations, [n] each: ``feature`` and ``relation`` by number, ``entities`` it contributes to.

    ``score`` is -log10 of the probability under shuffled relations; ``share`` how much of what the feature adds, on
    average, to an answer of each relation goes to this one.
    """

    feature: Integers
    relation: Integers
    entities: Integers
    score: Floats
    share: Floats


def label(session: Session, progress: Callable[[str], None] | None = None, *, afresh: bool = False) -> LabelReport:
    """Find the relations of all features and write them, in one transaction, in place of those found before.

    Clusters and patterns are what weights alone say and take most of the time, so those that are there stay as they
    are, unless ``afresh``: a cluster may then find its name among facts that have come since.

    Writes ``feature_relations``, ``features.relation`` and ``label_source``, ``layers.labelled``, a row in
    ``relations`` for each cluster and pattern, and k and seed of the clusters into ``model``. Labels of another source
    (a user's own) are left alone. ``progress`` is told what is being done. Raises OperationalError where the file
    cannot be written, MissingPart where it does not hold the gates.
    """
    db, say = session.db, progress or (lambda what: None)
    if db.readonly("main"):
        raise OperationalError(f"{db.filename} is read-only, and labelling writes to it. Make it writable or copy it")
    with db:
        say("features that write answers")
        rows = list(_probe_rows(db))
        if afresh or not fetch(db, "SELECT value FROM model WHERE key = ?", (CLUSTERS,)):
            vocabulary = fetch(db, "SELECT text, special FROM tokens ORDER BY token_id")
            texts = [text for text, _ in vocabulary]
            special = {token for token, (_, is_special) in enumerate(vocabulary) if is_special}
            say("clusters")
            made = clustering.steps(session, texts, special)
            found = clustering.clusters(made.directions)
            rows += _cluster_rows(session, made, found, texts)
            say("patterns")
            rows += _pattern_rows(db, Patterns(texts, special))
            _set(db, CLUSTERS, found.count)
            _set(db, CLUSTERS_SEED, clustering.SEED)
        else:
            rows += fetch(db, "SELECT * FROM feature_relations WHERE source <> 'probe'")
        say("writing")
        _write(db, rows)
        _describe(db)
    return _report(db)


def contributions(db: apsw.Connection) -> Contributions:
    """What the probes of a vindex showed: of every entity and relation, the answer that most wordings gave."""
    relation_of = dict(fetch(db, "SELECT edge_id, relation FROM edge_records WHERE source = 'probe'"))
    answers = [(relation_of[edge], found) for edge, found in contributors.read(db)]
    names = sorted({relation for relation, _ in answers})
    number = {name: place for place, name in enumerate(names)}
    helped = [found.places for _, found in answers]
    places, feature = np.unique(np.concatenate([np.empty(0, np.int64), *helped]), return_inverse=True)
    return Contributions(
        tuple(names),
        np.array([number[relation] for relation, _ in answers], np.int64),
        np.repeat(np.arange(len(answers)), [len(each) for each in helped]),
        feature.astype(np.int64),
        np.concatenate([np.empty(0), *(found.sizes for _, found in answers)]),
        np.column_stack(np.divmod(places, 1 << contributors.BITS)),
    )


def confirmed(given: Contributions, relation: Integers | None = None) -> Confirmed:
    """The features that contribute to more entities of a relation than chance explains.

    ``relation`` [answers] stands in for the answers' own, to see what shuffled ones give. With one relation nothing is
    confirmed: there is nothing to tell it from.
    """
    of = given.relation if relation is None else relation
    kinds, everything = len(given.relations), np.bincount(given.feature, minlength=len(given.places))
    tested = np.flatnonzero(everything >= MANY)  # how often a feature contributes says nothing of shuffled relations
    column = np.full(len(given.places), -1)
    column[tested] = np.arange(len(tested))
    kept = column[given.feature] >= 0
    cell = of[given.answer[kept]] * len(tested) + column[given.feature[kept]]
    shape = kinds, len(tested)
    hits = np.bincount(cell, minlength=kinds * len(tested)).reshape(shape)
    sizes = np.bincount(cell, given.size[kept], kinds * len(tested)).reshape(shape)
    answers = np.bincount(of, minlength=kinds)[:, None]  # of each relation
    chances = log_chance(
        hits.reshape(-1),
        np.broadcast_to(answers, hits.shape).reshape(-1),
        np.broadcast_to(everything[tested], hits.shape).reshape(-1),
        len(of),
    ).reshape(hits.shape)
    believed = unlikely(chances.reshape(-1), RATE).reshape(hits.shape)
    believed &= (hits >= MANY) & (hits >= MANY_SHARE * answers)
    at, which = np.nonzero(believed)
    average = sizes / np.maximum(answers, 1)
    share = (average / np.maximum(average.sum(axis=0), 1e-300))[at, which]
    return Confirmed(tested[which], at, hits[at, which], -chances[at, which] / log(10), share)


def _probe_rows(db: apsw.Connection) -> Iterator[Row]:
    given = contributions(db)
    if not given.relations:
        return
    found = confirmed(given)
    columns = (found.feature, found.relation, found.entities, found.share, found.score)
    for feature, relation, entities, share, score in zip(*(column.tolist() for column in columns), strict=True):
        layer, number = given.places[feature].tolist()
        yield layer, number, given.relations[relation], "probe", entities, share, score


def _cluster_rows(
    session: Session, made: clustering.Steps, found: clustering.Clusters, texts: Sequence[str]
) -> Iterator[Row]:
    names = clustering.names(found, made, texts, _facts(session))
    for (layer, feature), cluster, cosine in zip(
        made.places.tolist(), found.cluster.tolist(), found.cosines.tolist(), strict=True
    ):
        if cluster >= 0:
            yield layer, feature, names[cluster], "cluster", None, 1.0, cosine


def _facts(session: Session) -> dict[tuple[str, int], set[tuple[str, str]]]:
    """The facts (relation, target) by their entity, in lower case, and their target's first token."""
    first: dict[str, int] = {}
    known: defaultdict[tuple[str, int], set[tuple[str, str]]] = defaultdict(set)
    for relation, entity, target in fetch(session.db, "SELECT relation, entity, target FROM facts"):
        if target not in first:
            first[target] = session.tokenizer.encode(f" {target}", special=False)[0]
        known[entity.casefold(), first[target]].add((relation, target))
    return known


def _pattern_rows(db: apsw.Connection, patterns: Patterns) -> Iterator[Row]:
    for (layer,) in fetch(db, "SELECT layer FROM layers ORDER BY layer"):
        rows = fetch(
            db,
            "SELECT feature, json_group_array(token_id ORDER BY rank) FROM feature_tokens WHERE layer = ? "
            "GROUP BY feature",
            (layer,),
        )
        if not rows:
            continue
        tokens = np.array([[int(token) for token in found[1:-1].split(",")] for _, found in rows], np.int64)
        for (feature, _), found in zip(rows, patterns.find(tokens), strict=True):
            if found is not None:
                yield layer, feature, found[0], "pattern", None, found[1], found[1]


_BEST = """
SELECT layer, feature, relation, source FROM (
  SELECT layer, feature, relation, source, row_number() OVER (
    PARTITION BY layer, feature
    ORDER BY CASE source WHEN 'probe' THEN 1 WHEN 'cluster' THEN 2 ELSE 3 END, score DESC, share DESC, relation
  ) AS place FROM feature_relations)
WHERE place = 1
"""
_OURS = "(label_source IS NULL OR label_source IN ('probe', 'cluster', 'pattern'))"


def _write(db: apsw.Connection, rows: Sequence[Row]) -> None:
    """Put the rows in place of what was there; rows that stay the same are not written again."""
    db.execute("CREATE TEMP TABLE found AS SELECT * FROM feature_relations WHERE false")
    db.executemany("INSERT INTO found VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    db.execute(
        "DELETE FROM feature_relations WHERE (layer, feature, relation, source) IN (SELECT layer, feature, relation, "
        "source FROM (SELECT * FROM feature_relations EXCEPT SELECT * FROM found))"
    )
    db.execute("INSERT INTO feature_relations SELECT * FROM found EXCEPT SELECT * FROM feature_relations")
    db.execute("DROP TABLE found")
    db.execute(
        "UPDATE features SET relation = NULL, label_source = NULL WHERE relation IS NOT NULL AND label_source IN "
        f"{SOURCES} AND (layer, feature) NOT IN (SELECT layer, feature FROM feature_relations)"
    )
    db.execute(
        f"UPDATE features SET relation = best.relation, label_source = best.source FROM ({_BEST}) AS best "
        "WHERE features.layer = best.layer AND features.feature = best.feature "
        f"AND {_OURS} AND (features.relation IS NOT best.relation OR label_source IS NOT best.source)"
    )
    db.execute(
        "UPDATE layers SET labelled = counted.labelled FROM (SELECT layer, count(relation) AS labelled FROM features "
        "GROUP BY layer) AS counted WHERE layers.layer = counted.layer AND layers.labelled <> counted.labelled"
    )


def _set(db: apsw.Connection, key: str, value: int) -> None:
    """Record a property of the model."""
    db.execute(
        "INSERT INTO model VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2 WHERE value IS NOT ?2",
        (key, value),
    )


def _describe(db: apsw.Connection) -> None:
    """Rows of ``relations`` for clusters and patterns, none for those of before."""
    db.execute(
        "DELETE FROM relations WHERE source IN ('cluster', 'pattern') "
        "AND name NOT IN (SELECT relation FROM feature_relations UNION SELECT relation FROM edge_records "
        "UNION SELECT relation FROM facts UNION SELECT relation FROM relation_templates)"
    )
    named = fetch(db, "SELECT DISTINCT relation, source FROM feature_relations WHERE source <> 'probe'")
    made = dict(fetch(db, "SELECT key, value FROM model WHERE key IN (?, ?)", (CLUSTERS, CLUSTERS_SEED)))
    about = (
        "features that make like steps from what they answer to, to what they promote; one of "
        f"{made[CLUSTERS]} clusters, seed {made[CLUSTERS_SEED]}"
    )
    db.executemany(
        "INSERT INTO relations (name, description, source) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
        "SET description = excluded.description WHERE source = excluded.source AND description <> excluded.description",
        ((name, about if source == "cluster" else describe_pattern(name), source) for name, source in named),
    )


def _report(db: apsw.Connection) -> LabelReport:
    features = fetch(db, "SELECT count(*) FROM features")[0][0]
    rows = fetch(
        db,
        "SELECT label_source, count(*), count(DISTINCT relation) FROM features WHERE relation IS NOT NULL "
        "GROUP BY label_source",
    )
    found = {source: (count, relations) for source, count, relations in rows}
    labelled = {source: found.get(source, (0, 0))[0] for source in SOURCES}
    return LabelReport(features, labelled, {source: found.get(source, (0, 0))[1] for source in SOURCES})
