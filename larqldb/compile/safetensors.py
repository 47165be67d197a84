"""A Hugging Face directory: config.json, the model's other files, and its tensors in one or several safetensors files.

The format is https://huggingface.co/docs/safetensors; tensors stand in it in the order in which its own library writes
them, so that a model that library wrote comes back as the same file. Tensors are written one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from larqldb.compile.encoding import Encoding, encode
from larqldb.storage.dtypes import NUMPY
from larqldb.storage.mapping import Mapped
from larqldb.storage.outputs import write_pieces
from larqldb.storage.pieces import pieces
from larqldb.storage.tensors import as_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from larqldb.compile.state import BakedModel
    from larqldb.storage.tensors import StoredTensor

SHARD_BYTES = 5_000_000_000  # of a file, as transformers had it: a hub's limits and people's patience
INDEX = "model.safetensors.index.json"
ALIGNED = 8  # bytes that a header's length is a multiple of
ORDER = ("F32", "BF16", "F16", "U8", "BOOL")  # in a file: the widest dtype first, so that every number is aligned


@dataclass(frozen=True)
class Written:
    """A file that was written: its name, how many tensors it holds, its bytes."""

    name: str
    tensors: int
    bytes: int


def write_tensors(
    model: BakedModel, folder: Path, encoding: Encoding, *, shard_bytes: int = SHARD_BYTES
) -> Iterator[Written]:
    """Write all tensors of a model into a folder, in files of at most ``shard_bytes`` (but one tensor at least).

    Gives each file when it is written. Raises OSError, or DamagedVindex where bytes are missing.
    """
    tensors = list(model.store.tensors())
    dtypes = {tensor.name: encoding.type(tensor, model.dtype(tensor), model.shape(tensor)) for tensor in tensors}
    sizes = {tensor.name: prod(model.shape(tensor)) * NUMPY[dtypes[tensor.name]].itemsize for tensor in tensors}
    shards = list(_shards(sorted(tensors, key=_depth), sizes, shard_bytes))
    names = [f"model-{number:05}-of-{len(shards):05}.safetensors" for number in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        shard.sort(key=lambda tensor: (ORDER.index(dtypes[tensor.name]), tensor.name))
        with open(folder / name, "wb", buffering=0) as file:
            write_pieces(file, _pieces(model, shard, dtypes, sizes))
            size = file.tell()
        yield Written(name, len(shard), size)
    if len(shards) > 1:
        places = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": dict(sorted(places.items()))}
        content = (json.dumps(index, indent=2) + "\n").encode()
        (folder / INDEX).write_bytes(content)
        yield Written(INDEX, 0, len(content))


def _pieces(
    model: BakedModel, shard: Sequence[StoredTensor], dtypes: dict[str, str], sizes: dict[str, int]
) -> Iterator[bytes | memoryview]:
    """The bytes of a file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in shard:
        stop = start + sizes[tensor.name]
        header[tensor.name] = {
            "dtype": dtypes[tensor.name], "shape": model.shape(tensor), "data_offsets": [start, stop]
        }  # fmt: skip
        start = stop
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNED)
    yield len(text).to_bytes(8, "little") + text
    mapped = Mapped(model.store.db)
    for tensor in shard:
        dtype = dtypes[tensor.name]
        if tensor.dtype == dtype and not model.changes(tensor):
            yield from pieces(model.store, tensor)
        else:
            yield as_bytes(encode(tensor.name, model.read(tensor), dtype))
        mapped.read(sizes[tensor.name])


def _shards(tensors: Iterable[StoredTensor], sizes: dict[str, int], shard_bytes: int) -> Iterator[list[StoredTensor]]:
    shard: list[StoredTensor] = []
    held = 0
    for tensor in tensors:
        size = sizes[tensor.name]
        if shard and held + size > shard_bytes:
            yield shard
            shard, held = [], 0
        shard.append(tensor)
        held += size
    yield shard


def _depth(tensor: StoredTensor) -> tuple[int, str]:
    """Where a tensor stands when models are split: by layer, so that a layer is in one file or two."""
    return (-1 if tensor.layer is None else tensor.layer), tensor.name
