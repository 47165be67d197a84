"""The calibration in a file: fitted on its probes, kept beside them, and the confidence of its edges by it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from larqldb.knowledge import records
from larqldb.knowledge.confidence import Confidence, fit
from larqldb.knowledge.support import Support
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw

KEY = "confidence_calibration"  # in the table model


def calibration(db: apsw.Connection) -> Confidence:
    """The calibration that the file's edges were rated by; the one to begin with where nothing was probed."""
    found = fetch(db, "SELECT value FROM model WHERE key = ?", (KEY,))
    if not found:
        return Confidence()
    kept = json.loads(found[0][0])
    return Confidence(tuple(kept["weights"]), kept["half"])


def calibrate(db: apsw.Connection) -> None:
    """Fit the calibration on all probes, rate all probed edges by it, and write its bins."""
    relations = {}
    for relation in records.probed_relations(db):
        wordings = records.templates_of(db, relation)
        entities = records.probed(db, relation).values()
        relations[relation] = [
            [answers[wording] for wording in wordings] for answers in entities if len(answers) == len(wordings)
        ]
    sure, bins = fit({relation: entities for relation, entities in relations.items() if entities})
    db.execute("INSERT OR REPLACE INTO model VALUES (?, ?)", (KEY, json.dumps(asdict(sure))))
    db.execute("DELETE FROM calibration")
    db.executemany(
        "INSERT INTO calibration (bin, confidence, observed, edges) VALUES (?, ?, ?, ?)",
        ((number, each.confidence, each.observed, each.edges) for number, each in enumerate(bins, start=1)),
    )
    rated = []
    for edge_id, agreement, probability, other, asked in fetch(db, _SUPPORTS):
        support = Support("", agreement, probability, agreement - other, asked)
        rated.append((sure.of(support), edge_id))
    db.executemany("UPDATE edge_records SET confidence = ? WHERE edge_id = ?", rated)
    db.execute(_ENTITIES)


# Each probed edge with its support, the largest agreement of another target of its entity and relation, and how many
# wordings were asked.
_SUPPORTS = """
SELECT e.edge_id, e.agreement, e.probability, ifnull((
  SELECT max(o.agreement) FROM edge_records AS o
  WHERE o.relation = e.relation AND o.entity = e.entity AND o.source = 'probe' AND o.edge_id <> e.edge_id), 0), (
  SELECT count(*) FROM probes AS p WHERE p.relation = e.relation AND p.entity = e.entity)
FROM edge_records AS e WHERE e.source = 'probe'
"""
_ENTITIES = """
UPDATE entities SET confidence = (
  SELECT max(confidence) FROM edge_records AS e WHERE e.entity = entities.entity AND e.source = 'probe')
WHERE entity IN (SELECT entity FROM edge_records WHERE source = 'probe')
"""
