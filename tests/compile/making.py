"""Edits of small models that need no composing, and how far two models' answers are apart."""

from __future__ import annotations

import numpy as np

from larqldb.storage import edits
from larqldb.storage.edits import Operation

OWN, HIDDEN, LAST = 67, 40, 4  # of the models of tests.tiny
IDS = [5, 60, 17, 202, 33, 9, 140, 8]


def add(connection, layer, feature, *, seed=0, size=1.0, target="Paris"):
    """An edit that adds a random feature."""
    rng = np.random.default_rng(seed)
    gate, up, down = (rng.standard_normal((3, HIDDEN)) * size).astype(np.float32)
    gated = connection.session.network.gated
    operation = Operation(
        "insert", layer=layer, feature=feature, entity="Atlantis", relation="capital", target=target,
        gate=gate, up=up if gated else None, down=down,
    )  # fmt: skip
    _write(connection, operation)


def remove(connection, layer, feature):
    """An edit that takes a feature away."""
    _write(connection, Operation("delete", layer=layer, feature=feature))


def _write(connection, operation):
    if edits.find_patch(connection.database, "p") is None:
        edits.add_patch(connection.database, "p", str(connection.session.model["fingerprint"]))
    edits.write(connection.database, "p", [operation])


def divergence(live, other):
    """KL between logits [positions, vocab], the most over positions."""
    live, other = live.astype(np.float64), other.astype(np.float64)
    live -= np.logaddexp.reduce(live, axis=1, keepdims=True)
    other -= np.logaddexp.reduce(other, axis=1, keepdims=True)
    return float(np.max(np.sum(np.exp(live) * (live - other), axis=1)))
