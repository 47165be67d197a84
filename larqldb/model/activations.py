"""Activation functions on numpy arrays, by the names ``Network.activation`` uses.

gelu: https://arxiv.org/abs/1606.08415, exact by the error function; gelu_tanh its approximation there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_erf = np.frompyfunc(math.erf, 1, 1)


def _silu(x: Floats) -> Floats:
    return np.asarray(x / (1 + np.exp(-x.astype(np.float64))), np.float32)


def _gelu(x: Floats) -> Floats:
    return np.asarray(x * 0.5 * (1 + _erf(x / math.sqrt(2)).astype(np.float64)), np.float32)


def _gelu_tanh(x: Floats) -> Floats:
    wide = x.astype(np.float64)
    return np.asarray(0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))), np.float32)


def _relu(x: Floats) -> Floats:
    return np.maximum(x, np.float32(0))


ACTIVATIONS: dict[str, Callable[[Floats], Floats]] = {
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "relu": _relu,
}
