"""Tables of cosines and sines for rotary position embeddings, rounded where transformers rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.network import Rotary


def frequencies(rotary: Rotary, head_dim: int) -> NDArray[np.float32]:
    """Radians per position of each pair: float32 [head_dim / 2].

    RoFormer, https://arxiv.org/abs/2104.09864; the llama3 scaling as Meta published it,
    https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py
    """
    # Rounded to float32 after every step: at position 10,000 a frequency off by one bit turns the angle by 1e-3.
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    powers = np.power(np.float64(rotary.theta), exponents.astype(np.float64)).astype(np.float32)
    base = np.float32(1) / powers
    if rotary.scaling == "linear":
        return base / np.float32(rotary.factor)
    if rotary.scaling == "llama3":
        wavelength = np.float32(2 * np.pi) / base  # positions per turn
        longest, shortest = rotary.context / rotary.low_frequency, rotary.context / rotary.high_frequency
        blend = (np.float32(rotary.context) / wavelength - np.float32(rotary.low_frequency)) / np.float32(
            rotary.high_frequency - rotary.low_frequency
        )
        slow = base / np.float32(rotary.factor)
        between = (1 - blend) * slow + blend * base
        return np.where(wavelength > longest, slow, np.where(wavelength < shortest, base, between))
    return base


def tables(
    rotary: Rotary, head_dim: int, positions: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines and sines, float32 [positions, width / 2]; pairs beyond the head's own are not rotated."""
    angles = np.arange(positions, dtype=np.float32)[:, None] * frequencies(rotary, head_dim)
    angles = np.pad(angles, ((0, 0), (0, (width - head_dim) // 2)))
    return np.cos(angles), np.sin(angles)
