"""Which type each tensor is written in, and what rounding to it makes of the numbers.

Types are named as in GGUF: F32, F16 and BF16, and blocks of 32 numbers of a row that share a scale (Q8_0, Q4_0, Q4_1).
Without a wanted type every tensor keeps its own. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import BadTensor
from larqldb.storage.dtypes import NUMPY, as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.storage.tensors import StoredTensor

    Array = NDArray[Any]

FLOATS = ("F32", "F16", "BF16")
BLOCKS = ("Q8_0", "Q4_0", "Q4_1")
TYPES = (*FLOATS, *BLOCKS)
BLOCK = 32
# What a fact that a type has lost is tried in, nearest first.
FINER = {
    **dict.fromkeys(("Q4_0", "Q4_1"), ("Q8_0", "F16", "F32")),
    "Q8_0": ("F16", "F32"),
    **dict.fromkeys(("F16", "BF16"), ("F32",)),
}
_FOUR_BITS = ("Q4_0", "Q4_1")
_WORDS = ("embed", "head")  # small models answer otherwise with these in 4 bits
SLAB = 1 << 22  # numbers quantised at a time: bounds temporaries


@dataclass(frozen=True)
class Encoding:
    """``wanted`` is the type of every matrix, None: its own; ``vectors`` that of vectors, None: as matrices.

    ``finer`` is the type of the feed-forward matrices of some layers instead.
    """

    wanted: str | None = None
    vectors: str | None = None
    finer: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))

    def type(self, tensor: StoredTensor, dtype: str, shape: tuple[int, ...]) -> str:
        """The type of a tensor whose numbers are ``dtype``; ``shape`` as it is written, [out, in]."""
        if dtype not in FLOATS:
            return dtype
        if len(shape) < 2:
            return self.vectors or self.wanted or dtype
        wanted = self.wanted or dtype
        finer = None if tensor.layer is None else self.finer.get(tensor.layer)
        if finer is not None and not {"gate", "up", "down"}.isdisjoint(tensor.layout.roles):
            wanted = finer
        elif wanted in _FOUR_BITS and tensor.role in _WORDS:
            wanted = "Q8_0"
        return "F16" if wanted in BLOCKS and shape[-1] % BLOCK else wanted


def encode(name: str, array: Array, kind: str) -> Array:
    """Numbers [..., in] in a type: floats as they are, blocks as uint8 [..., bytes].

    Raises BadTensor where a number is too large for the type.
    """
    if kind in NUMPY:
        if array.dtype == NUMPY[kind]:
            return array
        with np.errstate(over="ignore"):
            made = as_float32(array).astype(NUMPY[kind])
        if not np.isfinite(made).all():
            raise BadTensor(
                tensor=name, problem=f"it holds numbers too large for {kind}",
                remedy="Compile to another type, such as BF16 or F32",
            )  # fmt: skip
        return made
    from gguf import GGMLQuantizationType, quantize

    rows = max(1, SLAB // array.shape[-1])
    pieces = [
        quantize(as_float32(array[start : start + rows]), GGMLQuantizationType[kind])
        for start in range(0, len(array), rows)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def rounded(name: str, array: Array, kind: str) -> Array:
    """What is read back of numbers [..., in] that were written in a type: floats of it, or float32."""
    made = encode(name, array, kind)
    if kind in NUMPY:
        return made
    from gguf import GGMLQuantizationType, dequantize

    out = np.empty(array.shape, np.float32)
    rows = max(1, SLAB // array.shape[-1])
    for start in range(0, len(array), rows):
        out[start : start + rows] = dequantize(made[start : start + rows], GGMLQuantizationType[kind])
    return out
