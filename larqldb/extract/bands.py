"""Where a model's layers change their work: three bands, found in the model itself.

Each layer is described by what its features write: how closely they point at a token (``alignment``), how many
different tokens they name (``spread``) and how strongly they write (log of ``down_norm`` and ``gate_norm``). The bands
are the three runs of layers with the least variance of these within them, found exactly by trying both boundaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

BANDS = ("syntax", "knowledge", "output")
METHOD = (
    "least within-band variance of alignment, spread, log gate_norm and log down_norm (standardised over layers), "
    "each band at least a tenth of the layers"
)


def bands(profiles: Sequence[Sequence[float]]) -> list[str]:
    """The band of each layer; ``profiles`` is [layers][alignment, spread, gate_norm, down_norm].

    One layer is all knowledge; two are knowledge and output.
    """
    count = len(profiles)
    if count < 3:
        return list(BANDS[1:])[:count]
    table = np.array(profiles, np.float64)  # [layers, 4]
    table[:, 2:] = np.log(np.maximum(table[:, 2:], 1e-30))
    table = (table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-12)
    least = max(1, count // 10)

    def variance(start: int, stop: int) -> float:
        part = table[start:stop]
        return float(((part - part.mean(axis=0)) ** 2).sum())

    cuts = [(a, b) for a, b in combinations(range(least, count), 2) if b - a >= least and count - b >= least]
    first, second = min(cuts, key=lambda cut: variance(0, cut[0]) + variance(*cut) + variance(cut[1], count))
    return [BANDS[0]] * first + [BANDS[1]] * (second - first) + [BANDS[2]] * (count - second)
