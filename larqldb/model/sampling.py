"""Choosing the next token from logits: greedy, or drawn with a temperature from the likeliest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import NotANumber, ProgrammingError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    ``temperature`` 0 takes the likeliest token always; above 0, logits are divided by it and a token is drawn from the
    ``top_k`` likeliest, of these from the fewest whose probabilities reach ``top_p`` (Holtzman et al.,
    https://arxiv.org/abs/1904.09751). The same ``seed`` draws the same tokens; None draws others every time. Raises
    ProgrammingError for a setting out of its range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or not 0 <= self.temperature <= 100:
            raise _out_of_range("temperature", self.temperature, "a number from 0 to 100")
        if self.top_k is not None and (not _is_integer(self.top_k) or self.top_k < 1):
            raise _out_of_range("top_k", self.top_k, "a whole number from 1 up")
        if self.top_p is not None and (not _is_number(self.top_p) or not 0 < self.top_p <= 1):
            raise _out_of_range("top_p", self.top_p, "a number above 0 and up to 1")
        if self.seed is not None and (not _is_integer(self.seed) or self.seed < 0):
            raise _out_of_range("seed", self.seed, "a whole number from 0 up")


class Sampler:
    """Draws tokens as a Sampling says; one for each text."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def choose(self, logits: NDArray[np.float32]) -> int:
        """A token id from logits [vocab]; of equal logits the first wins. Raises NotANumber."""
        sampling = self._sampling
        check_finite(logits)
        if sampling.temperature == 0:
            return int(logits.argmax())
        count = min(sampling.top_k or len(logits), len(logits))
        kept = np.argpartition(-logits, count - 1)[:count] if count < len(logits) else np.arange(count)
        order = kept[np.lexsort((kept, -logits[kept]))]  # the likeliest first
        scaled = logits[order].astype(np.float64) / max(sampling.temperature, 1e-6)
        weights = np.exp(scaled - scaled[0])
        mass = np.cumsum(weights)
        if sampling.top_p is not None:
            mass = mass[: int(np.searchsorted(mass, sampling.top_p * mass[-1])) + 1]
        drawn = int(np.searchsorted(mass, self._random.random() * mass[-1], side="right"))
        return int(order[min(drawn, len(mass) - 1)])


def check_finite(numbers: NDArray[np.float32]) -> None:
    """Raise NotANumber where one of some numbers is NaN, or the largest infinite: weights are damaged."""
    if not np.isfinite(numbers.max()):
        raise NotANumber


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _out_of_range(name: str, value: object, wanted: str) -> ProgrammingError:
    return ProgrammingError(f"{name} must be {wanted}, not {value!r}")
