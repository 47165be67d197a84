"""A GGUF file: a network's settings, its tokenizer and its tensors as llama.cpp runs them, written one at a time.

What GGUF's converter does to numbers is undone in reading (``larqldb.extract.sources.gguf_names``) and done here: rows
of q and k reordered for Llama, one added to Gemma's norms, Conv1D matrices turned.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from larqldb.compile.encoding import BLOCKS, Encoding, encode
from larqldb.compile.gguf_metadata import add_network, architecture, factors
from larqldb.compile.gguf_tokenizer import add_tokenizer
from larqldb.extract.sources.gguf_names import NAMINGS, Naming, stored_rows
from larqldb.model.architectures import tensors
from larqldb.storage.dtypes import as_float32
from larqldb.storage.mapping import Mapped

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from larqldb.compile.state import BakedModel
    from larqldb.model.network import TensorSlot
    from larqldb.storage.tensors import StoredTensor

    Array = NDArray[Any]

_FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32, "F16": gguf.LlamaFileType.MOSTLY_F16, "BF16": gguf.LlamaFileType.MOSTLY_BF16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "Q4_1": gguf.LlamaFileType.MOSTLY_Q4_1,
}  # fmt: skip
VECTORS = "F32"  # llama.cpp adds and multiplies by vectors in no other type


@dataclass(frozen=True)
class _Planned:
    """A tensor to be written: its name and type in the file, and where it comes from."""

    name: str
    slot: TensorSlot
    stored: StoredTensor
    kind: str
    shape: tuple[int, ...]


def write(model: BakedModel, path: Path, encoding: Encoding, source: str) -> int:
    """Write a model to a file; gives how many tensors it holds. ``encoding.vectors`` is ``VECTORS``.

    Raises CannotCompile for what the format or llama.cpp cannot hold, OSError, BadTensor for a number that a type
    cannot hold, DamagedVindex where bytes are missing.
    """
    network = model.network
    known = architecture(network)
    naming = NAMINGS[known.name]
    planned = list(_plan(model, naming, encoding))
    config = json.loads(model.config)
    config = config["text_config"] if config.get("model_type") == "gemma3" else config
    extra = factors(network, config)
    writer = gguf.GGUFWriter(path, known.name)
    try:
        writer.add_type("model")
        writer.add_name(PurePath(source.partition("@")[0]).name.removesuffix(".gguf") or source)
        add_network(writer, network, config)
        matrices = Counter(tensor.kind for tensor in planned if len(tensor.shape) > 1)
        writer.add_file_type(_FILE_TYPES[encoding.wanted or matrices.most_common(1)[0][0]])
        add_tokenizer(writer, model.files, network.vocab)
        if any(tensor.kind in BLOCKS for tensor in planned):
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        for name, array in extra.items():
            writer.add_tensor_info(name, array.shape, array.dtype, array.nbytes)
        for tensor in planned:
            kind = gguf.GGMLQuantizationType[tensor.kind]
            block, size = gguf.GGML_QUANT_SIZES[kind]
            # A float dtype that is not uint8: the shape is that of the numbers, not of the bytes.
            writer.add_tensor_info(
                tensor.name, tensor.shape, np.dtype(np.float32), prod(tensor.shape) // block * size, kind
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        mapped = Mapped(model.store.db)
        for array in extra.values():
            writer.write_tensor_data(array)
        with ThreadPoolExecutor(1) as pool:  # one tensor is written while the next is made
            writing: Future[None] | None = None
            for tensor in planned:
                array = encode(tensor.name, _converted(model, naming, tensor), tensor.kind)
                mapped.read(array.nbytes)
                if writing is not None:
                    writing.result()
                writing = pool.submit(writer.write_tensor_data, array)
            if writing is not None:
                writing.result()
    finally:
        writer.close()
    return len(planned) + len(extra)


def _plan(model: BakedModel, naming: Naming, encoding: Encoding) -> Iterator[_Planned]:
    """The tensors that the network uses, in the order in which it does."""
    stored = {(tensor.role, tensor.layer): tensor for tensor in model.store.tensors()}
    names = {part: name for name, part in (naming.outside | naming.parts).items()}
    for slot in tensors(model.network):
        tensor = stored[slot.role, slot.layer]
        stem, _, kind = slot.name.rpartition(".")
        inside = "" if slot.layer is None else f"{naming.layer}.{slot.layer}."
        name = f"{names[stem.removeprefix(inside)]}.{kind}"
        shape = slot.shape[::-1] if slot.transposed else slot.shape
        dtype = "F32" if naming.has_norm_offset(slot.name) else model.dtype(tensor)
        yield _Planned(
            name if slot.layer is None else f"blk.{slot.layer}.{name}", slot, tensor,
            encoding.type(tensor, dtype, shape), shape,
        )  # fmt: skip


def _converted(model: BakedModel, naming: Naming, tensor: _Planned) -> Array:
    """A tensor's numbers as the file has them, before any rounding."""
    array = model.read(tensor.stored)
    if tensor.slot.transposed:
        array = array.T
    if naming.has_norm_offset(tensor.slot.name):
        array = as_float32(array) + np.float32(1)
    if naming.rotary_interleaved and tensor.slot.role.removesuffix("_bias") in ("attn_q", "attn_k"):
        heads = model.network.heads if tensor.slot.role.startswith("attn_q") else model.network.kv_heads
        turned = np.empty_like(array)
        turned[stored_rows(len(array), heads)] = array
        array = turned
    return np.ascontiguousarray(array)
