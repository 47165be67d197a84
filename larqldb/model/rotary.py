"""Tables of cosines and sines for rotary position embeddings, rounded where transformers rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.network import Rotary


def frequencies(rotary: Rotary, head_dim: int) -> NDArray[np.float32]:
    """Radians per position of each pair that is turned: float32 [half of ``rotary.width`` or head_dim].

    RoFormer, https://arxiv.org/abs/2104.09864; LongRoPE, https://arxiv.org/abs/2402.13753; the llama3 scaling as Meta
    published it, https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py
    """
    # Rounded to float32 after every step: at position 10,000 a frequency off by one bit turns the angle by 1e-3.
    width = rotary.width or head_dim
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    powers = np.power(np.float64(rotary.theta), exponents.astype(np.float64)).astype(np.float32)
    if rotary.scaling == "longrope":
        return np.float32(1) / (np.array(rotary.factors, np.float32) * powers)
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
    """Cosines and sines, float32 [positions, width / 2]; pairs beyond those that are turned are left as they are."""
    angles = np.arange(positions, dtype=np.float32)[:, None] * frequencies(rotary, head_dim)
    cos, sin = (np.float32(rotary.magnitude) * part(angles) for part in (np.cos, np.sin))
    rest = ((0, 0), (0, width // 2 - angles.shape[1]))
    return np.pad(cos, rest, constant_values=1), np.pad(sin, rest)
