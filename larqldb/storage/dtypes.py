"""The number formats a vindex stores, by their names in safetensors files."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import DTypeLike

from larqldb.model.dtypes import as_float32

__all__ = ["NUMPY", "USER_NAMES", "as_float32", "name_of"]

NUMPY: dict[str, np.dtype[np.generic]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "U8": np.dtype(np.uint8),  # this and the next: of masks that old checkpoints carry, never of weights
    "BOOL": np.dtype(np.bool_),
}
USER_NAMES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


def name_of(dtype: DTypeLike) -> str:
    """The stored name of a numpy dtype; KeyError for one that a vindex does not hold."""
    wanted = np.dtype(dtype)
    return next(name for name, known in NUMPY.items() if known == wanted)
