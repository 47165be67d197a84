"""Weights in 8 or 4 bits: blocks of numbers that share a scale, and the operator that multiplies by them.

The operator is com.microsoft's MatMulNBits, which also rounds what it multiplies to 8 bits, block by block
(accuracy_level 4): https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md

8 bits: w = d·q, q from -127 to 127. 4 bits: w = d·q + m, q from 0 to 15, as GGUF's Q4_1 has it, so that such weights
come through unchanged. The operator knows d·(q - 8) only (with zero
points of a fraction it is 50 times slower), so m + 8·d is multiplied by the sums of x over each block and added.
The embeddings keep their stored numbers; the head is 8 bits wide in both.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRECISIONS: dict[str, int | None] = {"float32": None, "int8": 8, "int4": 4}  # what a weight may be held in → its bits
BLOCK = 32  # numbers that share a scale: those of GGUF's formats
HEAD_BITS = 8  # at 4 the answers of small models change
PIECE = 1 << 16  # numbers worked on at a time: they stay in the processor's cache

# Matrices that read the same vector → multiplied as one: fewer, larger operators keep the threads busy.
GROUPS = (("attn_q", "attn_k", "attn_v"), ("attn_o",), ("gate", "up"), ("down",))


@dataclass(frozen=True)
class Blocks:
    """A matrix [n, k] as MatMulNBits reads it.

    ``levels`` uint8 [n, blocks, bytes], ``scales`` float32 [n, blocks]; ``offsets`` float32 [blocks, n] is what the
    sums of x over each block are multiplied by, None where that is nothing.
    """

    bits: int
    shape: tuple[int, int]
    levels: NDArray[np.uint8]
    scales: NDArray[np.float32]
    offsets: NDArray[np.float32] | None = None

    def matrix(self) -> NDArray[np.float32]:
        """The numbers they stand for: float32 [n, k]."""
        n, k = self.shape
        if self.bits == 8:
            levels = self.levels.astype(np.float32) - 128
        else:
            levels = np.stack([self.levels & 15, self.levels >> 4], -1).reshape(n, -1, BLOCK).astype(np.float32) - 8
        numbers = levels * self.scales[..., None]
        if self.offsets is not None:
            numbers += self.offsets.T[..., None]
        return numbers.reshape(n, -1)[:, :k]


def quantise(matrix: NDArray[Any], bits: int) -> Blocks:
    """A matrix [n, k] of any float dtype in 8 or 4 bits; k is padded with zeros to whole blocks."""
    n, k = matrix.shape
    blocks = -(-k // BLOCK)
    levels = np.empty((n, blocks, BLOCK * bits // 8), np.uint8)
    scales = np.empty((n, blocks), np.float32)
    offsets = np.empty((blocks, n), np.float32) if bits == 4 else None

    def work(start: int) -> None:
        rows = slice(start, start + step)
        part = np.zeros((min(step, n - start), blocks * BLOCK), np.float32)
        part[:, :k] = matrix[rows]
        numbers = part.reshape(-1, blocks, BLOCK)
        if offsets is None:
            levels[rows], scales[rows] = _eight(numbers)
        else:
            levels[rows], scales[rows], offsets.T[rows] = _four(numbers)

    step = max(1, PIECE // (blocks * BLOCK))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(0, n, step)))
    return Blocks(bits, (n, k), levels, scales, offsets)


def _eight(numbers: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Levels around 128 and scales of blocks [n, blocks, 32]."""
    scales = np.abs(numbers).max(-1) / np.float32(127)
    levels = np.rint(numbers * _inverse(scales)[..., None])
    return (levels + 128).astype(np.uint8), scales


def _four(numbers: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Packed levels, scales and m + 8·d of blocks [n, blocks, 32]."""
    low, high = numbers.min(-1), numbers.max(-1)  # GGUF's Q4_1 uses both ends of its 16 levels in every block
    scales = (high - low) / np.float32(15)
    levels = np.rint((numbers - low[..., None]) * _inverse(scales)[..., None]).astype(np.uint8)
    return levels[..., 0::2] | (levels[..., 1::2] << 4), scales, low + 8 * scales


def _inverse(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """One over each scale; 0 where a block is constant."""
    return np.divide(np.float32(1), scales, out=np.zeros_like(scales), where=scales > 0)
