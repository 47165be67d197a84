"""The exact top tokens, against every score in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from larqldb.extract import top_tokens
from larqldb.extract.top_tokens import TopTokens
from larqldb.storage.database import fetch, open_database
from larqldb.storage.tensors import TensorStore


def brute_force(embeddings: np.ndarray[Any, Any], directions: np.ndarray[Any, Any], k: int) -> np.ndarray[Any, Any]:
    """Row numbers of the k largest E·d, ties by lower row, all in float64."""
    products = embeddings.astype(np.float64)[None] * directions.astype(np.float64)[:, None]
    scores = products.sum(axis=-1)
    return np.array([sorted(range(len(row)), key=lambda i: (-row[i], i))[:k] for row in scores])


@pytest.fixture
def proposals_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small vocabularies take the way of large ones."""
    monkeypatch.setattr(top_tokens, "BRUTE_FORCE", 0)


@settings(max_examples=60, deadline=None)
@given(
    tokens=st.integers(1, 300),
    hidden=st.integers(1, 50),
    k=st.integers(1, 12),
    dtype=st.sampled_from([np.float32, np.float16, ml_dtypes.bfloat16]),
    kind=st.sampled_from(["normal", "repeated rows", "one large column", "zeros among", "tiny", "common part"]),
    seed=st.integers(0, 1000),
    propose=st.booleans(),
)
def test_equals_brute_force(tokens: int, hidden: int, k: int, dtype: Any, kind: str, seed: int, propose: bool) -> None:
    rng = np.random.default_rng(seed)
    embeddings = rng.standard_normal((tokens, hidden)).astype(np.float32)
    directions = rng.standard_normal((7, hidden)).astype(np.float32)
    if kind == "repeated rows":
        embeddings[rng.integers(0, tokens, tokens // 2)] = embeddings[0]
    elif kind == "one large column":
        embeddings[:, 0] *= 300
    elif kind == "zeros among":
        embeddings[::2] = 0
        directions[0] = 0
    elif kind == "tiny":
        embeddings *= 1e-3
        directions *= 1e-6
    elif kind == "common part":
        embeddings += 5
    embeddings = embeddings.astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_tokens, "BRUTE_FORCE", 0 if propose else 1 << 12)
        ids, scores = TopTokens(embeddings, k).search(directions)
    assert ids.tolist() == brute_force(embeddings, directions, k).tolist()
    expected = (embeddings.astype(np.float64)[ids] * directions[:, None].astype(np.float64)).sum(axis=-1)
    assert scores.tolist() == expected.tolist()


@pytest.mark.usefixtures("proposals_always")
def test_what_the_bound_cannot_settle_is_computed_in_full() -> None:
    rng = np.random.default_rng(1)
    embeddings = np.repeat(rng.standard_normal((3, 24)), 200, axis=0).astype(np.float32)  # 200 equal best tokens
    directions = rng.standard_normal((5, 24)).astype(np.float32)
    search = TopTokens(embeddings, 10)
    ids, _ = search.search(directions)
    assert search.fallbacks == 5
    assert ids.tolist() == brute_force(embeddings, directions, 10).tolist()


def test_the_proposals_never_understate(monkeypatch: pytest.MonkeyPatch) -> None:
    """With so few candidates that the bound must fail often, answers stay exact."""
    monkeypatch.setattr(top_tokens, "BRUTE_FORCE", 0)
    monkeypatch.setattr(top_tokens, "CANDIDATES", 1)
    rng = np.random.default_rng(2)
    embeddings = rng.standard_normal((3000, 33)).astype(np.float16)
    directions = rng.standard_normal((40, 33)).astype(np.float32)
    search = TopTokens(embeddings, 10)
    ids, _ = search.search(directions)
    assert search.fallbacks > 0
    assert ids.tolist() == brute_force(embeddings, directions, 10).tolist()


def test_unsigned_products_where_the_processor_saturates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_tokens, "BRUTE_FORCE", 0)
    monkeypatch.setattr(top_tokens, "_mixed_signs_are_exact", lambda: False)
    rng = np.random.default_rng(3)
    embeddings = rng.standard_normal((900, 40)).astype(np.float32)
    directions = rng.standard_normal((20, 40)).astype(np.float32)
    search = TopTokens(embeddings, 5)
    ids, _ = search.search(directions)
    assert search.fallbacks == 0
    assert ids.tolist() == brute_force(embeddings, directions, 5).tolist()


@pytest.mark.parametrize("model", ["smollm2_vindex", "gemma3_vindex"])
def test_stored_feature_tokens_of_real_models(model: str, request: pytest.FixtureRequest) -> None:
    """A spread of features against all scores in float64."""
    path: Path = request.getfixturevalue(model)
    db = open_database(path, read_only=True)
    store = TensorStore(db)
    embeddings = store.weights("embed", None)
    layers, ffn = (fetch(db, "SELECT value FROM model WHERE key = ?", (key,))[0][0] for key in ("layers", "ffn_size"))
    wanted = [(layer, feature) for layer in (0, layers // 2, layers - 1) for feature in (0, ffn // 3, ffn - 1)]
    scores = np.empty((len(wanted), len(embeddings)))
    directions = np.stack([store.weights("down", layer)[feature] for layer, feature in wanted]).astype(np.float64)
    for start in range(0, len(embeddings), 8192):
        part = embeddings[start : start + 8192].astype(np.float64)
        scores[:, start : start + 8192] = np.stack([(part * d).sum(axis=1) for d in directions])
    for (layer, feature), row in zip(wanted, scores, strict=True):
        best = np.lexsort((np.arange(len(row)), -row))[:10]
        stored = fetch(
            db,
            "SELECT token_id, score FROM feature_tokens WHERE layer = ? AND feature = ? ORDER BY rank",
            (layer, feature),
        )
        assert stored == [(token, row[token]) for token in best.tolist()]
    db.close()
