"""How much of each layer the walk needs: the rows that answers depend on most, found by leaving rows out.

What is left out of a layer adds up as noise does: its parts are hardly correlated (measured on SmolLM2: the squared
length of their sum is 1.0 to 1.1 times the sum of their squares; neither a constant nor a factor makes up for them). So
leaving out rows with contributions c from layer l costs about s_l²·Σc² nats per token, and the fewest rows for a given
cost are those with s_l·c above one threshold for the whole network. s_l is measured: rows are left out of one layer at
a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.model.walk import Choice, Choosing, Walker, lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PROBED = 0.6  # of a layer's contributions left out to measure s_l, smallest first: what a good budget leaves out
STEPS = 7  # of the search for the threshold
CLOSE = 0.03  # of the wanted KL: ends it earlier

Start = Callable[[Choosing], Walker]
"""A walker that chooses so, at the start of a text."""


@dataclass(frozen=True)
class Fidelity:
    """How near a walk came to the whole network on some texts.

    ``kl``: mean Kullback-Leibler divergence from the whole network's distributions, nats per token; ``agreement``:
    share of positions with the same most probable token; ``share``: of all rows, those pulled.
    """

    kl: float
    agreement: float
    share: float


def measure(
    start: Start, choice: Choosing, texts: Sequence[Sequence[int]], true: Sequence[NDArray[np.float32]]
) -> Fidelity:
    """What a choice gives on texts (token ids), against logits [positions, vocab] of the whole network for each."""
    parts, same, pulled, possible = [], [], 0, 0
    for ids, logits in zip(texts, true, strict=True):
        walker = start(choice)
        walked = walker.all_logits(ids)
        parts.append(divergences(logits, walked))
        same.append(logits.argmax(-1) == walked.argmax(-1))
        pulled, possible = pulled + walker.pulled, possible + walker.possible
    kl, agreement = float(np.concatenate(parts).mean()), float(np.concatenate(same).mean())
    return Fidelity(kl, agreement, pulled / possible)


def find(
    start: Start,
    layers: int,
    relative: bool,
    texts: Sequence[Sequence[int]],
    true: Sequence[NDArray[np.float32]],
    kl: float,
) -> tuple[Choice, Fidelity]:
    """The rule ``least`` with the thresholds that reach ``kl`` on the texts with the fewest rows.

    ``relative`` is that of ``Choice``. Where even all rows do not reach it, all of them.
    """
    recorder = _Recorder(relative)
    whole = [start(recorder).all_logits(ids) for ids in texts]
    contributions = [np.concatenate(recorder.seen[layer]).ravel() for layer in range(layers)]
    sensitivities = _sensitivities(start, relative, texts, whole, contributions)
    tokens = sum(map(len, texts))
    choice = Choice("least", (0.0,) * layers, relative)
    best = choice, measure(start, choice, texts, true)
    aim = kl
    for _ in range(STEPS):
        choice = Choice("least", _thresholds(contributions, sensitivities, aim * tokens), relative)
        found = measure(start, choice, texts, true)
        if found.kl <= kl and found.share < best[1].share:
            best = choice, found
        if (1 - CLOSE) * kl < found.kl <= kl:
            break
        aim *= (1 - CLOSE / 2) * kl / found.kl
    return best


def divergences(true: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """KL divergence of each row's distribution from the true one, in nats, from logits [n, vocab]: [n]."""
    found = np.empty(len(true))
    for i, pair in enumerate(zip(true, other, strict=True)):  # a row at a time: vocabularies are large
        p, q = (row.astype(np.float64) - row.max() for row in pair)
        p, q = p - np.log(np.exp(p).sum()), q - np.log(np.exp(q).sum())
        found[i] = np.exp(p) @ (p - q)
    return found


def _sensitivities(
    start: Start,
    relative: bool,
    texts: Sequence[Sequence[int]],
    whole: Sequence[NDArray[np.float32]],
    contributions: Sequence[NDArray[np.float32]],
) -> NDArray[np.float64]:
    """s_l of every layer: √(nats lost / Σ of squares left out), from the contributions in each layer.

    ``whole`` are the walk's own logits with all rows: what 8-bit blocks cost is nobody's fault here.
    """
    found = np.empty(len(contributions))
    for layer, all_of_it in enumerate(contributions):
        least = float(np.quantile(all_of_it, PROBED))
        left_out = float(np.sum(np.square(all_of_it[all_of_it < least], dtype=np.float64)))
        choice = Choice("least", tuple(least if i == layer else 0.0 for i in range(len(contributions))), relative)
        lost = sum(
            float(divergences(logits, start(choice).all_logits(ids)).sum())
            for ids, logits in zip(texts, whole, strict=True)
        )
        found[layer] = np.sqrt(max(lost, 0.0) / left_out) if left_out else 0.0
    floor = (float(found.max()) or 1.0) / 1000  # a layer that changes nothing
    return np.asarray(np.maximum(found, floor))


def _thresholds(
    contributions: Sequence[NDArray[np.float32]], sensitivities: NDArray[np.float64], nats: float
) -> tuple[float, ...]:
    """The least contribution of each layer at which what is left out should cost so many nats in all."""
    costs = np.concatenate(
        [
            np.square(found * sensitivity, dtype=np.float64)
            for found, sensitivity in zip(contributions, sensitivities, strict=True)
        ]
    )
    costs.sort()
    last = min(int(np.searchsorted(np.cumsum(costs), nats)), len(costs) - 1)
    return tuple(float(np.sqrt(costs[last]) / sensitivity) for sensitivity in sensitivities)


class _Recorder:
    """Chooses everything and remembers what contributed how much."""

    def __init__(self, relative: bool) -> None:
        self._relative = relative
        self.seen: dict[int, list[NDArray[np.float32]]] = {}

    def keep(self, layer: int, contributions: NDArray[np.float32]) -> NDArray[np.bool_]:
        seen = lengths(contributions) if self._relative else contributions.copy()
        self.seen.setdefault(layer, []).append(seen)
        return np.ones(contributions.shape, np.bool_)
