from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest

from larqldb.functions.gate_scan import GateScan

LAYERS = range(3, 8)


def made(kind: str, features: int = 90, hidden: int = 50, dtype: object = np.float16) -> tuple[np.ndarray, np.ndarray]:
    """Gates [layers, features, hidden] and norms [layers, hidden] of a kind that makes rounding hard or easy."""
    rng = np.random.default_rng(5)
    gates = rng.standard_normal((len(LAYERS), features, hidden))
    norms = np.abs(rng.standard_normal((len(LAYERS), hidden)))
    match kind:
        case "outliers":  # one coordinate takes nearly the whole range of 8 bits
            gates[:, :, 7] *= 1000
            norms[:, 9] *= 1000
        case "scales":  # rows from tiny to huge
            gates *= np.logspace(-4, 3, features)[None, :, None]
        case "zeros":
            gates[:, ::2] = 0
            norms[:, ::3] = 0
        case "copies":
            gates[:, :] = gates[:, :1]
    return gates.astype(dtype), norms.astype(np.float32)


def scan_of(gates: np.ndarray, norms: np.ndarray, *, keep: bool) -> GateScan:
    read: Callable[[int], np.ndarray] = lambda layer: gates[layer - LAYERS[0]]  # noqa: E731
    return GateScan(LAYERS, norms, read, lambda layer, rows: read(layer)[rows], keep=keep)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("kind", ["plain", "outliers", "scales", "zeros", "copies"])
def test_it_finds_all_that_reach_the_threshold(kind: str, dtype: object, keep: bool) -> None:
    gates, norms = made(kind, dtype=dtype)
    scan = scan_of(gates, norms, keep=keep)
    rng = np.random.default_rng(6)
    for unit in (rng.standard_normal(50), rng.standard_normal(50) ** 5, np.eye(50)[7]):
        unit = unit.astype(np.float32)
        folded = (gates.astype(np.float32) * norms[:, None, :]).astype(np.float64)
        scores = folded @ unit.astype(np.float64)
        for share in (0, 50, 90, 99):
            least = np.percentile(scores, share, axis=1)
            layers, features, found = scan.find(unit, least)
            # Scores that equal the threshold but for the order of a sum may fall on either side of it.
            slack = 1e-12 * np.abs(scores).max(axis=1, keepdims=True)
            surely = {(place, f) for place, f in zip(*np.nonzero(scores > least[:, None] + slack), strict=True)}
            at_most = {(place, f) for place, f in zip(*np.nonzero(scores >= least[:, None] - slack), strict=True)}
            places = layers - LAYERS[0]
            got = set(zip(places.tolist(), features.tolist(), strict=True))
            assert surely <= got <= at_most
            assert found == pytest.approx(scores[places, features], rel=1e-9, abs=1e-9)


def test_a_layer_that_is_not_asked_for_gives_nothing() -> None:
    gates, norms = made("plain")
    least = np.full(len(LAYERS), np.inf)
    least[2] = -np.inf
    layers, features, _ = scan_of(gates, norms, keep=False).find(np.ones(50, np.float32), least)
    assert layers.tolist() == [LAYERS[2]] * 90
    assert features.tolist() == list(range(90))


@pytest.mark.parametrize("keep", [True, False])
def test_a_zero_input_reaches_nothing(keep: bool) -> None:
    gates, norms = made("plain")
    layers, features, scores = scan_of(gates, norms, keep=keep).find(np.zeros(50, np.float32), np.full(5, 1e-6))
    assert (len(layers), len(features), len(scores)) == (0, 0, 0)


def test_few_need_the_exact_look() -> None:
    """The bound is tight enough to be of use: on Gaussian gates few candidates are looked at in vain."""
    gates, norms = made("plain", features=2000, hidden=200)
    norms[:] = 1
    looked: list[int] = []

    def rows(layer: int, chosen: list[int]) -> np.ndarray:
        looked.extend(chosen)
        return gates[layer - LAYERS[0]][chosen]

    scan = GateScan(LAYERS, norms, lambda layer: gates[layer - LAYERS[0]], rows, keep=False)
    unit = np.random.default_rng(8).standard_normal(200).astype(np.float32)
    _, features, _ = scan.find(unit, np.full(5, 3 * np.linalg.norm(unit)))
    assert 0 < len(features) <= len(looked) < 3 * len(features)
