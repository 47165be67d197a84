"""Recall on the real models: what SQL finds against brute force in float64, with and without conditions."""

from __future__ import annotations

import numpy as np
import pytest

import larqldb
from larqldb.functions.associations import nearest, standing_out

COUNTS = (1, 10, 100, 1000, 5000)
TEXTS = ("France", "Mozart", "New York", "東京")

# Conditions on features, as SQL and as Python on (layer, feature, score, token).
CONDITIONS = {
    "feature < 500": lambda layer, feature, score, token: feature < 500,
    "feature BETWEEN 100 AND 900 AND score > 0.5": lambda layer, feature, score, token: (
        100 <= feature <= 900 and score > 0.5
    ),
    "feature < 50 OR feature > 1400": lambda layer, feature, score, token: feature < 50 or feature > 1400,
    "NOT (feature % 3 = 0)": lambda layer, feature, score, token: feature % 3 != 0,
    "feature IN (1, 5, 7, 100, 1000)": lambda layer, feature, score, token: feature in (1, 5, 7, 100, 1000),
    "token LIKE ' %' AND length(token) > 4": lambda layer, feature, score, token: token[0] == " " and len(token) > 4,
    "relation IS NULL": lambda layer, feature, score, token: True,
    "feature = -1": lambda layer, feature, score, token: False,
}


@pytest.fixture(params=["smollm2", "gemma3"])
def conn(request: pytest.FixtureRequest) -> larqldb.Connection:
    return request.getfixturevalue(request.param)


def truth(conn: larqldb.Connection, role: str, layer: int, q: np.ndarray) -> list[int]:
    """All features by inner product in float64, ties by number."""
    scores = conn.session.matrix(role, layer).astype(np.float64) @ q.astype(np.float64)
    return np.lexsort((np.arange(len(scores)), -scores)).tolist()


def entered(conn: larqldb.Connection, text: str, layer: int) -> np.ndarray:
    ids = conn.session.tokenizer.encode(f" {text}", special=False)
    bare = conn.session.tokenizer.encode(text, special=False)
    return conn.session.enter(conn.session.embedding(bare if len(bare) < len(ids) else ids).mean(axis=0), layer)


def test_gate_match_finds_all_of_them(conn: larqldb.Connection) -> None:
    for layer in (0, len(conn.session.layers) // 2, conn.session.layers[-1]):
        for text in TEXTS:
            expected = truth(conn, "gate", layer, entered(conn, text, layer))
            for k in COUNTS:
                found = conn.execute("SELECT feature FROM gate_match(?, ?, ?)", (text, k, layer)).fetchall()
                assert [feature for (feature,) in found] == expected[:k]


def test_down_match_finds_all_of_them(conn: larqldb.Connection) -> None:
    rng = np.random.default_rng(0)
    for layer in (1, conn.session.layers[-1]):
        q = rng.standard_normal(conn.session.network.hidden).astype(np.float32)
        expected = truth(conn, "down", layer, q)
        for k in COUNTS:
            found = conn.execute("SELECT feature FROM down_match(?, ?, ?)", (q.tobytes(), k, layer)).fetchall()
            assert [feature for (feature,) in found] == expected[:k]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_nearest_to_under_a_condition_finds_all_of_them(conn: larqldb.Connection, condition: str) -> None:
    layer, text = 7, "Mozart"
    allowed = CONDITIONS[condition]
    about = {
        feature: (layer, feature, score, token)
        for feature, score, token in conn.execute(
            "SELECT feature, score, token FROM features WHERE layer = ?", (layer,)
        )
    }
    expected = [f for f in truth(conn, "gate", layer, entered(conn, text, layer)) if allowed(*about[f])]
    for k in COUNTS:
        found = conn.execute(
            f"SELECT feature FROM FEATURES NEAREST TO '{text}' AT LAYER {layer} WHERE {condition} LIMIT {k}"
        ).fetchall()
        assert [feature for (feature,) in found] == expected[:k]


def test_describe_finds_every_feature_that_stands_out(conn: larqldb.Connection) -> None:
    """The 8-bit scan against brute force in float64, over all layers."""
    session = conn.session
    norms = dict(conn.execute("SELECT layer, gate_norm FROM layers").fetchall())
    for text in ("", *TEXTS):  # the first is answered without the scan
        text = text or "Paris"
        expected = set()
        for layer in session.layers:
            x = entered(conn, text, layer)
            scores = session.matrix("gate", layer).astype(np.float64) @ x.astype(np.float64)
            chosen = np.lexsort((np.arange(len(scores)), -scores))[:20]
            least = 3 * norms[layer] * float(np.linalg.norm(x)) / len(x) ** 0.5
            expected |= {(layer, int(feature)) for feature in chosen if scores[feature] >= least}
        ids = session.tokenizer.encode(f" {text}", special=False)
        bare = session.tokenizer.encode(text, special=False)
        residual = session.embedding(bare if len(bare) < len(ids) else ids).mean(axis=0)
        found = nearest(*standing_out(session, residual, norms))
        assert {(layer, feature) for layer, feature, _ in found} == expected
