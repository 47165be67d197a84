"""Matrices in 8 bits: blocks of 32 numbers along a row, each a scale and 32 whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.model.dtypes import as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32
_PIECE = 1 << 20  # numbers quantised at a time: bounds the temporary arrays


def quantise(matrix: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """[n, k] as MatMulNBits reads it: uint8 [n, blocks, 32] around 128, and scales float32 [n · blocks].

    A number is scale · (whole − 128); a block's largest is ±127 of it, so the error is at most 1/254 of that. Rows are
    filled up with zeros to whole blocks.
    https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#commicrosoftmatmulnbits
    """
    n, k = matrix.shape
    blocks = -(-k // BLOCK)
    whole = np.empty((n, blocks, BLOCK), np.uint8)
    scales = np.empty((n, blocks), np.float32)
    step = max(_PIECE // max(k, 1), 1)
    for start in range(0, n, step):
        piece = as_float32(matrix[start : start + step])
        if k % BLOCK:
            piece = np.pad(piece, ((0, 0), (0, blocks * BLOCK - k)))
        piece = piece.reshape(len(piece), blocks, BLOCK)
        scale = np.maximum(piece.max(-1), -piece.min(-1)) / np.float32(127)
        scales[start : start + step] = scale
        scale[scale == 0] = 1  # a block of zeros
        scaled = piece / scale[..., None]
        scaled += np.float32(128.5)  # the cast cuts off what is behind the point
        whole[start : start + step] = scaled.astype(np.uint8)
    return whole, scales.reshape(-1)
