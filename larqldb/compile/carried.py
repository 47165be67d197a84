"""What is known of a model, taken along when its edits become its own weights.

Everything is carried but what edits contradict: edges that they delete, labels of features that are gone, and what was
asked of an entity and a relation that an edit is about, or whose answer rested on a feature that is gone. What edits
insert stands among the edges with the source ``compiled``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from larqldb.compile.slices import copy_rows
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw

    from larqldb.compile.state import BakedModel
    from larqldb.edit.difference import Group

COMPILED = "compiled"  # the source of edges that were inserted, and of labels of the features that edits added
AS_THEY_ARE = (
    "relation_templates", "facts", "aliases", "relation_domains", "not_asked", "calibration", "walk_measurement",
    "walk_budgets", "traces", "trace_layers",
)  # fmt: skip
# Tables of which some rows are carried, or all in another form; the rest is what extraction writes, or edits.
IN_PART = (
    "model", "tensors", "layers", "relations", "entities", "features", "feature_relations", "edge_records",
    "edge_evidence", "edge_features", "probes",
)  # fmt: skip
KEPT_PROPERTIES = ("bands_method", "quantisation", "largest_rounding_error")
Pair = tuple[str, str]  # a relation and an entity


def carry(source: apsw.Connection, target: apsw.Connection, model: BakedModel, edits: Sequence[Group]) -> list[Pair]:
    """Bring what a vindex knows into the one that its model with the edits was just written to.

    Gives the relations and entities that were asked about and must be asked again.
    """
    target.executemany(
        "INSERT INTO relations (name, description, source) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        source.execute("SELECT name, description, source FROM relations ORDER BY name"),
    )
    for table in AS_THEY_ARE:
        target.execute(f"DELETE FROM {table}")
        copy_rows(source, target, table)
    gone = [(layer, slot) for layer, slots in model.slots.items() for slot in (*slots.emptied, *slots.given_up)]
    again = _touched(source, edits, gone)
    _edges(source, target, again)
    _labels(source, target, gone)
    _inserted(target, model, edits)
    _layers(source, target)
    _properties(source, target, edits)
    return sorted(again & set(fetch(source, "SELECT DISTINCT relation, entity FROM probes")))


def _touched(source: apsw.Connection, edits: Iterable[Group], gone: Iterable[tuple[int, int]]) -> set[Pair]:
    """What edits are about, and what rests on features that are gone."""
    found = {(group.triple[1], group.triple[0]) for group in edits if group.triple is not None}
    for place in gone:
        found.update(
            fetch(
                source,
                "SELECT DISTINCT relation, entity FROM edge_evidence JOIN edge_records USING (edge_id) "
                "WHERE kind = 'feature' AND edge_evidence.layer = ? AND number = ?",
                place,
            )
        )
    return found


def _edges(source: apsw.Connection, target: apsw.Connection, again: set[Pair]) -> None:
    """What was asked, the edges that came of it or of elsewhere, and their evidence, under new numbers.

    Static edges are those of the new weights, but for those that an edit deleted by name.
    """
    shift = int(target.execute("SELECT coalesce(max(edge_id), 0) FROM edge_records").get)
    target.execute("CREATE TEMP TABLE again (relation TEXT, entity TEXT, PRIMARY KEY (relation, entity))")
    target.executemany("INSERT INTO again VALUES (?, ?)", sorted(again))
    copy_rows(source, target, "probes")
    target.execute("DELETE FROM probes WHERE (relation, entity) IN (SELECT relation, entity FROM again)")
    where = "source NOT IN ('static', 'insert') AND edge_id NOT IN hidden_edges"
    for table in ("edge_records", "edge_evidence", "edge_features"):
        chosen = where if table == "edge_records" else f"edge_id IN (SELECT edge_id FROM edge_records WHERE {where})"
        copy_rows(source, target, table, chosen, shifted={"edge_id": shift})
    target.execute(
        "DELETE FROM edge_records WHERE source = 'probe' AND (relation, entity) IN (SELECT relation, entity FROM again)"
    )
    target.execute("DROP TABLE again")
    target.executemany(
        "DELETE FROM edge_records WHERE source = 'static' AND (layer, feature, entity, target) = (?, ?, ?, ?)",
        source.execute(
            "SELECT layer, feature, entity, target FROM edge_records "
            "WHERE edge_id IN hidden_edges AND source = 'static'"
        ),
    )


def _labels(source: apsw.Connection, target: apsw.Connection, gone: Iterable[tuple[int, int]]) -> None:
    """The relations of the base's own features."""
    copy_rows(source, target, "feature_relations")
    target.executemany(
        "UPDATE features SET relation = ?, label_source = ? WHERE layer = ? AND feature = ?",
        source.execute("SELECT relation, label_source, layer, feature FROM features WHERE relation IS NOT NULL"),
    )
    for place in gone:
        target.execute("DELETE FROM feature_relations WHERE layer = ? AND feature = ?", place)
        target.execute(
            "UPDATE features SET relation = NULL, label_source = NULL WHERE layer = ? AND feature = ?", place
        )


def _inserted(target: apsw.Connection, model: BakedModel, edits: Iterable[Group]) -> None:
    """Inserted facts as edges, and their relations as those of the features that were added."""
    places = {
        (layer, number): slot
        for layer, numbers in model.live.numbers.items()
        for number, slot in zip(numbers, model.slots[layer].places, strict=True)
    }
    for (layer, number), slot in sorted(places.items()):
        relation = model.live.operations[layer, number].relation
        target.execute(
            "UPDATE features SET relation = ?1, label_source = iif(?1 IS NULL, NULL, ?2) "
            "WHERE layer = ?3 AND feature = ?4",
            (relation, COMPILED, layer, slot),
        )
    for group in edits:
        first = group.first
        if group.is_fact and group.triple is not None and first.layer is not None and first.feature is not None:
            entity, relation, named = group.triple
            sure = first.confidence if first.confidence is not None else first.probability
            target.execute(
                "INSERT INTO edge_records (entity, relation, target, layer, feature, confidence, probability, source) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (entity, relation, named, first.layer, places.get((first.layer, first.feature)), sure,
                 first.probability, COMPILED),
            )  # fmt: skip


def _layers(source: apsw.Connection, target: apsw.Connection) -> None:
    """Bands, which tracing may have found, and the counts and names that follow from what was carried."""
    target.executemany(
        "UPDATE layers SET band = ?, answers_read = ?, knockout = ? WHERE layer = ?",
        source.execute("SELECT band, answers_read, knockout, layer FROM layers"),
    )
    target.execute(
        "UPDATE layers SET labelled = "
        "(SELECT count(*) FROM features AS f WHERE f.layer = layers.layer AND f.relation IS NOT NULL)"
    )
    target.execute(
        "INSERT OR IGNORE INTO entities (entity, layer, features, score) "
        "SELECT entity, layer, 0, max(score) FROM edge_records WHERE source <> 'static' GROUP BY entity"
    )
    target.execute(
        "UPDATE entities SET (edges, confidence) = "
        "(SELECT count(*), max(confidence) FROM edge_records AS e WHERE e.entity = entities.entity)"
    )


def _properties(source: apsw.Connection, target: apsw.Connection, edits: Iterable[Group]) -> None:
    """What probing and labelling noted, how the source's tensors were rounded, and what the file was made from."""
    described = dict(fetch(source, "SELECT key, value FROM model ORDER BY key"))
    target.executemany("INSERT INTO model VALUES (?, ?) ON CONFLICT DO NOTHING", described.items())
    for key in KEPT_PROPERTIES:
        target.execute("UPDATE model SET value = ? WHERE key = ?", (described[key], key))
    target.executemany(
        "UPDATE tensors SET quantisation = ?, rounding = ? WHERE name = ? AND sha256 = ?",
        source.execute("SELECT quantisation, rounding, name, sha256 FROM tensors ORDER BY name"),
    )
    named = list(dict.fromkeys(group.first.patch for group in edits))
    if named:
        made = (
            ("compiled_from", described["fingerprint"]),
            ("compiled_patches", json.dumps(named, ensure_ascii=False)),
        )
        target.executemany("INSERT OR REPLACE INTO model VALUES (?, ?)", made)
