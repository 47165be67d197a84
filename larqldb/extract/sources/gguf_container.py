"""The GGUF container: metadata and the table of tensors, every claim checked against the file's size.

Read here rather than through ``gguf.GGUFReader`` because that one makes several numpy views for every array element:
Gemma 3's vocabulary takes it 18 s and 700 MB, this module 0.3 s and 30 MB; and a damaged file makes it raise whatever
numpy does, or run for hours. Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np
from gguf import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType, GGUFValueType

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.extract.sources.base import shown

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_MAX_NESTING = 4  # arrays of arrays are legal; nobody nests deeper, and recursion must end
# The fewest bytes an entry can take, so that an absurd count is known at once: an empty key, a type and a one-byte
# value; an empty name, no dimensions, a type and an offset.
_SMALLEST_ENTRY = 8 + 4 + 1
_SMALLEST_TENSOR = 8 + 4 + 4 + 8
_SCALARS: dict[GGUFValueType, np.dtype[Any]] = {
    GGUFValueType.UINT8: np.dtype("<u1"),
    GGUFValueType.INT8: np.dtype("<i1"),
    GGUFValueType.UINT16: np.dtype("<u2"),
    GGUFValueType.INT16: np.dtype("<i2"),
    GGUFValueType.UINT32: np.dtype("<u4"),
    GGUFValueType.INT32: np.dtype("<i4"),
    GGUFValueType.FLOAT32: np.dtype("<f4"),
    GGUFValueType.UINT64: np.dtype("<u8"),
    GGUFValueType.INT64: np.dtype("<i8"),
    GGUFValueType.FLOAT64: np.dtype("<f8"),
    GGUFValueType.BOOL: np.dtype("?"),
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the file has it: GGUF name, block format, shape [rows, columns], absolute offset, size in bytes."""

    name: str
    type: GGMLQuantizationType
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Container:
    """A whole GGUF header.

    Of the metadata, arrays of strings are lists, other arrays numpy arrays, and float32 scalars the shortest decimal
    that rounds to them: 1e-05 where the file has 9.999999747378752e-06.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]

    def text(self, key: str, default: str) -> str:
        """A string of the metadata; raises BadModelFile when it is something else."""
        value = self.metadata.get(key, default)
        return value if isinstance(value, str) else self._refuse(key, value)

    def flag(self, key: str, default: bool) -> bool:
        """A truth value of the metadata; raises BadModelFile when it is something else."""
        value = self.metadata.get(key, default)
        return value if isinstance(value, bool) else self._refuse(key, value)

    def _refuse(self, key: str, value: object) -> NoReturn:
        raise BadModelFile(
            path=self.path,
            problem=f"its metadata {key} is of the wrong type ({type(value).__name__})",
            remedy="Download or convert the model again",
        )


def is_gguf(path: Path) -> bool:
    """Whether the file begins as GGUF files do, whatever it is called."""
    try:
        with path.open("rb") as file:
            return file.read(4) == _MAGIC
    except OSError:
        return False


def read_container(path: Path) -> Container:
    """Read and check the header; raises BadModelFile, or UnsupportedModel for an unknown block format."""
    try:
        with path.open("rb", buffering=1 << 20) as file:
            return _Parser(path, file).container()
    except OSError as error:
        raise BadModelFile(
            path=path, problem=f"it cannot be read ({error.strerror or error})", remedy="Check the file and its rights"
        ) from error


class _Parser:
    """One pass over the header. Nothing is allocated before the file is known to be long enough to fill it."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file
        self.size = path.stat().st_size
        self.position = 0

    def container(self) -> Container:
        tensor_count, entry_count = self.start()
        metadata: dict[str, Any] = {}
        for _ in range(entry_count):
            key = self.string("a metadata key")
            if key in metadata:
                raise self.bad(f"metadata key {key} occurs twice")
            metadata[key] = self.value(self.value_type(key), key, 0)
        claims = [self.claim() for _ in range(tensor_count)]
        alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self.bad(f"general.alignment is {alignment!r}, not a power of two")
        data_start = -(-self.position // alignment) * alignment
        return Container(self.path, metadata, self.place(claims, data_start, alignment))

    def start(self) -> tuple[int, int]:
        """Magic, version and the two counts."""
        if self.size < 24:
            raise self.bad(f"it is cut short: {self.size:,} bytes cannot hold a GGUF header")
        magic = self.take(4, "the magic")
        if magic != _MAGIC:
            raise BadModelFile(
                path=self.path, problem=f"it is not a GGUF file (it begins with {magic!r})", remedy="Check what it is"
            )
        version = self.number("<I", "the version")
        if version not in _VERSIONS:
            problem = "it is a big-endian GGUF file" if version & 0xFFFF == 0 else f"its GGUF version is {version}"
            raise BadModelFile(
                path=self.path,
                problem=f"{problem}; versions 2 and 3, little-endian, are read",
                remedy="Convert the model again with a current llama.cpp",
            )
        tensor_count = self.number("<Q", "the tensor count")
        entry_count = self.number("<Q", "the metadata count")
        if tensor_count * _SMALLEST_TENSOR + entry_count * _SMALLEST_ENTRY > self.size - self.position:
            raise self.bad(
                f"its header promises {tensor_count:,} tensors and {entry_count:,} metadata entries, "
                f"more than {self.size:,} bytes can hold"
            )
        return tensor_count, entry_count

    def value_type(self, key: str) -> GGUFValueType:
        code = self.number("<I", key)
        try:
            return GGUFValueType(code)
        except ValueError:
            raise self.bad(f"metadata {key} has unknown value type {code}") from None

    def value(self, kind: GGUFValueType, key: str, depth: int) -> Any:
        if kind is GGUFValueType.STRING:
            return self.string(key)
        if kind is GGUFValueType.ARRAY:
            return self.array(key, depth + 1)
        dtype = _SCALARS[kind]
        number = np.frombuffer(self.take(dtype.itemsize, key), dtype)[0]
        # str() of a float32 is the shortest decimal that rounds to it: the number its author wrote.
        return float(str(number)) if kind is GGUFValueType.FLOAT32 else number.item()

    def array(self, key: str, depth: int) -> Any:
        if depth > _MAX_NESTING:
            raise self.bad(f"metadata {key} nests arrays more than {_MAX_NESTING} deep")
        kind = self.value_type(key)
        count = self.number("<Q", key)
        dtype = _SCALARS.get(kind)
        smallest = dtype.itemsize if dtype else 8 if kind is GGUFValueType.STRING else 12
        if count * smallest > self.size - self.position:
            raise self.bad(f"metadata {key} promises {count:,} elements, more than the file can hold")
        if dtype:
            return np.frombuffer(self.take(count * smallest, key), dtype)
        if kind is GGUFValueType.STRING:
            return [self.string(key) for _ in range(count)]
        return [self.array(key, depth + 1) for _ in range(count)]

    def claim(self) -> tuple[str, tuple[int, ...], int, int]:
        """What the table says of a tensor: name, shape, type code, offset within the data."""
        name = self.string("a tensor's name")
        dimensions = self.number("<I", name)
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise self.bad(f"tensor {name} has {dimensions} dimensions")
        # GGUF states the fastest-running dimension first, numpy and Hugging Face last.
        shape = struct.unpack(f"<{dimensions}Q", self.take(8 * dimensions, name))[::-1]
        return name, shape, self.number("<I", name), self.number("<Q", name)

    def place(
        self, claims: list[tuple[str, tuple[int, ...], int, int]], data_start: int, alignment: int
    ) -> dict[str, StoredTensor]:
        """Turn claims into tensors whose bytes are inside the file, aligned and nobody else's."""
        tensors: dict[str, StoredTensor] = {}
        for name, shape, code, offset in claims:
            if name in tensors:
                raise self.bad(f"tensor {name} occurs twice")
            try:
                kind = GGMLQuantizationType(code)
            except ValueError:
                raise UnsupportedModel(
                    what=shown(f"tensor {name} of quantisation type {code}"),
                    why="no such type is known",
                    remedy="Use a GGUF of a common type, such as Q4_K_M, Q8_0 or F16",
                ) from None
            block, block_bytes = GGML_QUANT_SIZES[kind]
            if min(shape) < 1 or shape[-1] % block:
                raise self.bad(f"tensor {name} of shape {list(shape)} cannot be {kind.name}, in blocks of {block}")
            size = prod(shape) // block * block_bytes
            if offset % alignment or data_start + offset + size > self.size:
                raise self.bad(f"the data of tensor {name} ({size:,} bytes) is not all inside the file")
            tensors[name] = StoredTensor(name, kind, shape, data_start + offset, size)
        end = data_start
        for tensor in sorted(tensors.values(), key=lambda tensor: tensor.offset):
            if tensor.offset < end:
                raise self.bad(f"the data of tensor {tensor.name} overlaps another tensor's")
            end = tensor.offset + tensor.size
        return tensors

    def string(self, what: str) -> str:
        length = self.number("<Q", what)
        raw = self.take(length, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self.bad(f"{what} is not valid UTF-8") from None

    def number(self, layout: str, what: str) -> int:
        value: int
        (value,) = struct.unpack(layout, self.take(struct.calcsize(layout), what))
        return value

    def take(self, size: int, what: str) -> bytes:
        if size > self.size - self.position:
            raise self.bad(f"it is cut short, or damaged, at {what} (byte {self.position:,} of {self.size:,})")
        data = self.file.read(size)
        if len(data) != size:
            raise self.bad(f"it ended at byte {self.position + len(data):,} while it was being read")
        self.position += size
        return data

    def bad(self, problem: str) -> BadModelFile:
        return BadModelFile(path=self.path, problem=shown(problem), remedy="Download or convert the model again")
