"""What every source of a model offers: its settings, its files, and its tensors by name, read one at a time.

Called by ``larqldb.extract`` only. A source touches model files and nothing else: no SQL, no network once it is open.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import ml_dtypes
import numpy as np

from larqldb.errors import BadModelFile, BadTensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NUMPY_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    # masks that old checkpoints carry; no weight is of these
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
# A float is NaN or infinite exactly when its exponent bits are all set; an integer test is faster than isfinite on
# bfloat16 and needs no float32 copy.
_EXPONENT_BITS: dict[str, tuple[type[np.unsignedinteger[Any]], int]] = {
    "F32": (np.uint32, 0x7F80_0000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
_CHECK_BLOCK = 1 << 20  # numbers looked at together, so that the test needs megabytes however large the tensor is


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a source: Hugging Face name, dtype as read ("F32", "F16", "BF16", …), shape as Hugging Face has it.

    ``quantisation`` is the name of the block format it is stored in ("Q4_1"), or None; such tensors are read as F32.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    quantisation: str | None = None


class Source(ABC):
    """A model opened for reading; a context manager.

    Attributes: ``origin`` (how the model was named), ``format``, ``config`` (Hugging Face's config.json), ``tensors``
    (by Hugging Face name, in the order of the files) and ``files`` (config.json, tokenizer.json, … by name).
    """

    format: Literal["safetensors", "gguf"]

    def __init__(self, origin: str, config: dict[str, Any], tensors: Mapping[str, TensorInfo]) -> None:
        self.origin = origin
        self.config = config
        self.tensors = dict(tensors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:  # noqa: B027 - not abstract: there is nothing to close
        """Every read opens its file and closes it, so a source holds nothing open between reads."""

    @cached_property
    @abstractmethod
    def files(self) -> dict[str, bytes]:
        """The small files a vindex keeps, by name, as the model came with them or synthesised in that form."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows ``start`` to ``stop`` of a tensor (all of it by default), in the dtype ``tensors[name]`` states.

        The array is the caller's own and shaped like the tensor except in its first axis. Only the bytes asked for
        are read. Raises BadTensor when a number is NaN or infinite, BadModelFile when the file has changed or is gone.
        """
        info = self.tensors.get(name)
        if info is None:
            raise BadModelFile(
                path=self.origin,
                problem=f"it holds no tensor named {name}",
                remedy="The model is incomplete; download or convert it again",
            )
        first, last, _ = slice(start, stop).indices(info.shape[0] if info.shape else 1)
        array = self._read(info, first, max(first, last))
        _require_finite(array, info, first)
        return array

    @abstractmethod
    def _read(self, info: TensorInfo, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop) of a tensor that exists, 0 <= start <= stop <= rows."""


def read_bytes(path: Path, offset: int, size: int) -> NDArray[np.uint8]:
    """``size`` bytes of a file from ``offset`` as uint8 [size]; raises BadModelFile when they are not there.

    A read, not a memory map: the resident set stays one tensor's size whatever the file's, and a file cut short while
    it is being read is an error here instead of a bus error in whoever touches the page.
    """
    try:
        data = np.fromfile(path, np.uint8, size, offset=offset)
    except OSError as error:
        raise BadModelFile(
            path=path, problem=f"it cannot be read ({error.strerror or error})", remedy="Check the file and its rights"
        ) from error
    if data.size != size:
        raise BadModelFile(
            path=path,
            problem=f"it ended at byte {offset + data.size:,} while it was being read",
            remedy="Something cut it short; download or copy it again",
        )
    return data


def shown(text: str) -> str:
    """A name out of a file as an error message may hold it: on one line and not too long."""
    return text if text.isprintable() and len(text) <= 200 else ascii(text[:200]) + ("…" if len(text) > 200 else "")


def _require_finite(array: NDArray[Any], info: TensorInfo, first_row: int) -> None:
    if info.dtype not in _EXPONENT_BITS:
        return
    integer, mask = _EXPONENT_BITS[info.dtype]
    bits = array.reshape(-1).view(integer)
    for block in range(0, bits.size, _CHECK_BLOCK):
        bad = (bits[block : block + _CHECK_BLOCK] & integer(mask)) == mask
        if bad.any():
            where = np.unravel_index(block + int(bad.argmax()), array.shape)
            value = float(array[where])
            place = [int(i) for i in where]
            if place:
                place[0] += first_row
            raise BadTensor(
                tensor=shown(info.name),
                problem=f"it holds {value} at {place}",
                remedy="The model is damaged or was saved while training diverged; get another copy",
            )
