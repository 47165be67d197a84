"""A GGUF file as a source: Hugging Face's names, orientation and numbers, dequantised one slab at a time."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.extract.sources.base import NUMPY_DTYPES, Source, TensorInfo, read_bytes, shown
from larqldb.extract.sources.gguf_config import config_from_gguf
from larqldb.extract.sources.gguf_container import StoredTensor, read_container
from larqldb.extract.sources.gguf_names import NAMINGS, stored_rows
from larqldb.extract.sources.gguf_tokenizer import special_token_ids, tokenizer_files

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_FLOATS = ("F32", "F16", "BF16")
# The block formats gguf turns back into float32.
_QUANTISED = frozenset(
    {
        *("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0", "MXFP4"),
        *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS"),
    }
)
# Numbers dequantised at once: gguf's temporaries, several float32 each, then stay in the processor's cache.
_SLAB = 1 << 18
_ROPE_FACTORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
_REORDERED = re.compile(r".*\.self_attn\.(?P<which>[qk])_proj\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class _Stored:
    """Where a tensor comes from and what its numbers need.

    ``heads`` to put rows back in order, ``offset`` to add, ``transposed`` to turn the matrix.
    """

    tensor: StoredTensor
    heads: int | None
    offset: float
    transposed: bool


class GGUFSource(Source):
    """A GGUF file."""

    format = "gguf"

    def __init__(self, path: Path, origin: str) -> None:
        """Check everything but the numbers; raises BadModelFile or UnsupportedModel."""
        self._container = container = read_container(path)
        parts = container.metadata.get("split.count", 1)
        if not isinstance(parts, int) or parts > 1:
            raise UnsupportedModel(
                what=f"{path.name}, one part of a split GGUF,",
                why="a model is read from one file",
                remedy="Join the parts with llama-gguf-split --merge",
            )
        factors = {name: self._rope_factors(name) for name in _ROPE_FACTORS if name in container.tensors}
        config = config_from_gguf(container, rope_factors=factors)
        self._stored: dict[str, _Stored] = {}
        tensors = {}
        for tensor in container.tensors.values():
            if tensor.name not in factors:
                info = self._adopt(tensor, config)
                tensors[info.name] = info
        super().__init__(origin, config | special_token_ids(container), tensors)

    @cached_property
    def files(self) -> dict[str, bytes]:
        """config.json and the tokenizer's files, synthesised (Gemma's 262,144 tokens take seconds)."""
        config = (json.dumps(self.config, ensure_ascii=False, indent=2) + "\n").encode()
        context = self._container.metadata[f"{self._container.metadata['general.architecture']}.context_length"]
        return {"config.json": config, **tokenizer_files(self._container, context)}

    def _rope_factors(self, name: str) -> NDArray[np.float32]:
        """What each rotary frequency is divided by, float32 [head_dim / 2]."""
        tensor = self._container.tensors[name]
        if tensor.type is not GGMLQuantizationType.F32 or len(tensor.shape) != 1:
            raise UnsupportedModel(
                what=f"tensor {name} of type {tensor.type.name} and shape {list(tensor.shape)}",
                why="a vector of F32 is expected",
                remedy="Use the model's Hugging Face directory instead",
            )
        return self._dequantised(tensor)

    def _adopt(self, tensor: StoredTensor, config: dict[str, Any]) -> TensorInfo:
        architecture = self._container.metadata["general.architecture"]
        naming, layers = NAMINGS[architecture], self._container.metadata[f"{architecture}.block_count"]
        name = naming.hugging_face(tensor.name, layers)
        kind = tensor.type.name
        if name is None:
            raise UnsupportedModel(
                what=shown(f"tensor {tensor.name}"),
                why=f"a {architecture} model of {layers} layers has none of that name",
                remedy="Use the model's Hugging Face directory instead",
            )
        if kind not in _FLOATS and kind not in _QUANTISED:
            raise UnsupportedModel(
                what=f"tensor {tensor.name} of type {kind}",
                why="it cannot be dequantised",
                remedy="Use a GGUF of a common type, such as Q4_K_M, Q8_0 or F16",
            )
        heads = None
        if naming.rotary_interleaved and (match := _REORDERED.fullmatch(name)):
            heads = config["num_attention_heads" if match["which"] == "q" else "num_key_value_heads"]
            if tensor.shape[0] % (2 * heads):
                raise BadModelFile(
                    path=self._container.path,
                    problem=f"tensor {tensor.name} of shape {list(tensor.shape)} does not fit {heads} heads",
                    remedy="Download or convert the model again",
                )
        offset = -1.0 if naming.has_norm_offset(name) else 0.0
        transposed = naming.is_transposed(name, tensor.shape)
        self._stored[name] = _Stored(tensor, heads, offset, transposed)
        dtype = kind if kind in _FLOATS and not offset else "F32"
        shape = tensor.shape[::-1] if transposed else tensor.shape
        return TensorInfo(name, dtype, shape, kind if kind in _QUANTISED else None)

    def _read(self, info: TensorInfo, start: int, stop: int) -> NDArray[Any]:
        stored = self._stored[info.name]
        tensor, dtype = stored.tensor, NUMPY_DTYPES[info.dtype]
        if stored.heads:
            # Scattered rows; q and k are small beside the rest, so the whole of one is read.
            order = stored_rows(tensor.shape[0], stored.heads)[start:stop]
            return self._dequantised(tensor).astype(dtype, copy=False)[order]
        if stored.transposed:
            return np.ascontiguousarray(self._dequantised(tensor).astype(dtype, copy=False).T[start:stop])
        array = self._dequantised(tensor, start, stop).astype(dtype, copy=False)
        if stored.offset:
            array += dtype.type(stored.offset)
        return array

    def _dequantised(self, tensor: StoredTensor, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Rows [start, stop) as stored when they are floats, else float32."""
        path, rows = self._container.path, tensor.shape[0]
        stop = rows if stop is None else stop
        row_bytes = tensor.size // rows
        shape = (stop - start, *tensor.shape[1:])
        if tensor.type.name in _FLOATS:
            raw = read_bytes(path, tensor.offset + start * row_bytes, (stop - start) * row_bytes)
            return raw.view(NUMPY_DTYPES[tensor.type.name]).reshape(shape)
        if len(shape) == 1:  # a block of a vector spans elements, not rows
            raw = read_bytes(path, tensor.offset, tensor.size)
            return _dequantise(raw, tensor.type)[start:stop].copy()
        row = prod(shape[1:])
        out = np.empty((stop - start, row), np.float32)
        step = max(1, _SLAB // row)
        for first in range(start, stop, step):
            last = min(first + step, stop)
            raw = read_bytes(path, tensor.offset + first * row_bytes, (last - first) * row_bytes)
            out[first - start : last - start] = _dequantise(raw, tensor.type).reshape(-1, row)
        return out.reshape(shape)


def _dequantise(raw: NDArray[np.uint8], kind: GGMLQuantizationType) -> NDArray[np.float32]:
    """Blocks, uint8 [bytes], as float32 [numbers]."""
    with np.errstate(all="ignore"):  # damaged scales give NaN or infinity, which the caller reports by tensor
        # One row: gguf works through groups of rows, and a slab is the group.
        numbers: NDArray[np.float32] = gguf.dequantize(raw.reshape(1, -1), kind)
    return numbers.reshape(-1)
