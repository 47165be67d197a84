"""Norms on numpy arrays: root-mean-square norms and layer norms, before their weights.

https://arxiv.org/abs/1910.07467, https://arxiv.org/abs/1607.06450
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.network import Network

Float = TypeVar("Float", np.float32, np.float64)


def unit(network: Network, x: NDArray[Float]) -> NDArray[Float]:
    """Vectors [..., hidden] as the network's norms scale them: to mean square 1, their mean subtracted if need be."""
    if network.layer_norm:
        x = x - x.mean(axis=-1, keepdims=True)
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True, dtype=x.dtype)
    return np.asarray(x / np.sqrt(mean_square + x.dtype.type(network.norm_eps)), x.dtype)


def scale(network: Network, x: NDArray[np.float32]) -> float:
    """What a norm divides x [hidden] by."""
    wide = x.astype(np.float64)
    if network.layer_norm:
        wide -= wide.mean()
    return float(np.sqrt(np.mean(np.square(wide)) + network.norm_eps))
