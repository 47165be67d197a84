"""Rounding tensors to the dtype a vindex stores them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import BadTensor
from larqldb.storage.dtypes import NUMPY, USER_NAMES

if TYPE_CHECKING:
    from larqldb.extract.sources import Source, TensorInfo

Array = np.ndarray[Any, Any]

READ_NUMBERS = 1 << 22  # at a time, so that a large tensor is never whole in two dtypes


def stored_dtype(info: TensorInfo, wanted: str | None) -> str:
    """The dtype a tensor is stored in: matrices as ``wanted`` or float16 where quantised, all else as it is."""
    if len(info.shape) < 2 or info.dtype not in USER_NAMES.values():
        return info.dtype
    return wanted or ("F16" if info.quantisation else info.dtype)


def read_tensor(source: Source, info: TensorInfo, dtype: str) -> tuple[Array, float | None]:
    """A tensor in a stored dtype, and the largest rounding error (None where nothing was rounded).

    Raises BadTensor where a number is too large for the dtype.
    """
    if info.dtype == dtype:
        return source.read(info.name), None
    out, error = np.empty(info.shape, NUMPY[dtype]), 0.0
    for start, stop in _row_blocks(info.shape):
        block = source.read(info.name, start, stop).astype(np.float32)
        with np.errstate(over="ignore"):
            out[start:stop] = block.astype(NUMPY[dtype])
        error = max(error, float(np.abs(out[start:stop].astype(np.float32) - block).max(initial=0)))
    if not np.isfinite(error):
        raise BadTensor(
            tensor=info.name,
            problem=f"it holds numbers too large for {NUMPY[dtype].name}",
            remedy="Extract with --dtype bfloat16 or --dtype float32",
        )
    return out, error


def _row_blocks(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    rows, width = shape[0], int(np.prod(shape[1:], dtype=np.int64))
    step = max(1, READ_NUMBERS // max(1, width))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
