"""The calibration in a file: fitted on its probes, kept beside them, and the confidence of its edges by it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from larqldb.knowledge import records
from larqldb.knowledge.answers import key
from larqldb.knowledge.confidence import Confidence, fit
from larqldb.knowledge.support import supports
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw

KEY = "confidence_weights"  # in the table model


def calibration(db: apsw.Connection) -> Confidence:
    """The calibration that the file's edges were rated by; the one to begin with where nothing was probed."""
    found = fetch(db, "SELECT value FROM model WHERE key = ?", (KEY,))
    if not found:
        return Confidence()
    kept = json.loads(found[0][0])
    own = {relation: tuple(weights) for relation, weights in kept["relations"].items()}
    return Confidence(tuple(kept["weights"]), kept["half"], own)


def calibrate(db: apsw.Connection) -> None:
    """Fit the calibration on all probes, rate all probed edges by it, and write its bins."""
    asked = {relation: records.probed(db, relation) for relation in records.probed_relations(db)}
    whole = {}
    for relation, entities in asked.items():
        wordings = records.templates_of(db, relation)
        whole[relation] = [
            {wording: answers[wording] for wording in wordings}
            for answers in entities.values()
            if answers.keys() == set(wordings)
        ]
    sure, bins = fit(whole)
    db.execute("INSERT OR REPLACE INTO model VALUES (?, ?)", (KEY, json.dumps(asdict(sure))))
    db.execute("DELETE FROM calibration")
    db.executemany(
        "INSERT INTO calibration (bin, confidence, observed, edges) VALUES (?, ?, ?, ?)",
        ((number, each.confidence, each.observed, each.edges) for number, each in enumerate(bins, start=1)),
    )
    for relation, entities in asked.items():
        found = {
            (entity, same): sure.of(support, relation)
            for entity, answers in entities.items()
            for same, support in supports(list(answers.values())).items()
        }
        edges = ((edge_id, (entity, key(target))) for edge_id, entity, target in fetch(db, _EDGES, (relation,)))
        rated = [(found[about], edge_id) for edge_id, about in edges if about in found]
        db.executemany("UPDATE edge_records SET confidence = ? WHERE edge_id = ?", rated)
    db.execute(_ENTITIES)


_EDGES = "SELECT edge_id, entity, target FROM edge_records WHERE relation = ? AND source = 'probe'"
_ENTITIES = """
UPDATE entities SET confidence = (
  SELECT max(confidence) FROM edge_records AS e WHERE e.entity = entities.entity AND e.source = 'probe')
WHERE entity IN (SELECT entity FROM edge_records WHERE source = 'probe')
"""
