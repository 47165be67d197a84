"""The number formats a vindex stores, by their names in safetensors files."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike, NDArray

NUMPY: dict[str, np.dtype[np.generic]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
USER_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def name_of(dtype: DTypeLike) -> str:
    """The stored name of a numpy dtype; KeyError for one that a vindex does not hold."""
    wanted = np.dtype(dtype)
    return next(name for name, known in NUMPY.items() if known == wanted)


def as_float32(array: NDArray[np.generic]) -> NDArray[np.float32]:
    """The same numbers as float32, exactly; float32 input is returned as it is.

    bfloat16 is float32's upper half (https://en.wikipedia.org/wiki/Bfloat16_floating-point_format), so a shift of the
    bits converts it several times faster than a cast through ml_dtypes.
    """
    if array.dtype == NUMPY["BF16"]:
        bits = array.view(np.uint16).astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return array.astype(np.float32, copy=False)
