"""Weights as a session takes them: float32 inputs of the graph, or matrices packed into fewer bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from onnx import helper

from larqldb.errors import BadTensor
from larqldb.model import graph
from larqldb.model.architectures import tensors
from larqldb.model.dtypes import as_float32, write_float32
from larqldb.model.network import NORMS
from larqldb.model.packed import PackedWeights, read_as_stored
from larqldb.model.quantise import GROUPS, HEAD_BITS, Blocks, quantise

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.network import Network

Weights = Callable[[str, int | None], "NDArray[Any]"]
"""(role, layer) → the tensor in its stored dtype, [out, in]; ``down`` comes feature-major, [ffn, hidden]."""


@dataclass(frozen=True)
class Loaded:
    """``inputs``: what a run is given, by its name in the graph; the rest is ``packed``, None in float32."""

    inputs: dict[str, ort.OrtValue]
    packed: PackedWeights | None = None
    embed: np.dtype[Any] | None = None

    def fit(self, model: ModelProto, options: ort.SessionOptions) -> None:
        """Change a float32 graph to what these weights are, before its session is made with ``options``."""
        if self.packed is not None:
            self.packed.rewrite(model, options)
        if self.embed is not None:
            read_as_stored(model, self.embed)


@dataclass(frozen=True)
class _Part:
    """What plays a role in a layer, and the tensor it is in."""

    tensor: str
    role: str
    layer: int | None


def load(network: Network, weights: Weights, bits: int | None) -> Loaded:
    """Every weight of a network, once; matrices in ``bits``, or float32 for None. Raises BadTensor."""
    slots = {
        graph.weight_name(role, slot.layer): _Part(slot.name, role, slot.layer)
        for slot in tensors(network)
        for role in slot.layout.roles
    }
    if bits is None:
        return Loaded(_in_float32(network, slots, weights))
    stored = _checked(network, slots["embed"], weights)
    head = stored if network.tied else _checked(network, slots["head"], weights)
    groups: dict[tuple[str, ...], Blocks] = {("embed" if network.tied else "head",): quantise(head, HEAD_BITS)}
    for layer in range(network.layers):
        for roles in GROUPS:
            names = tuple(graph.weight_name(role, layer) for role in roles if network.has(role))
            parts = [_checked(network, slots[name], weights) for name in names]
            whole = parts[0].T if roles == ("down",) else np.concatenate(parts)
            groups[names] = quantise(whole, bits)
    taken = {name for names in groups for name in names}
    inputs = {
        name: _value(_number(network, slot, _checked(network, slot, weights)))
        for name, slot in slots.items()
        if name not in taken and name != "embed"
    }
    sizes = {name: network.shape(slots[name].role)[0] for name in taken}
    return Loaded({**inputs, "embed": _value(stored)}, PackedWeights(groups, sizes), stored.dtype)


def _in_float32(network: Network, slots: Mapping[str, _Part], weights: Weights) -> dict[str, ort.OrtValue]:
    """All weights in one piece of memory, which the system gives in large pages: several times faster than in small."""
    shapes = {name: graph.weight_shape(network, slot.role) for name, slot in slots.items()}
    memory = np.empty(sum(math.prod(shape) for shape in shapes.values()), np.float32)
    values, start = {}, 0
    for name, slot in slots.items():
        stop = start + math.prod(shapes[name])
        place = memory[start:stop].reshape(shapes[name])
        stored = _checked(network, slot, weights)
        if slot.role in NORMS:
            place[...] = _number(network, slot, stored)
        else:
            write_float32(stored, place)
        values[name] = ort.OrtValue.ortvalue_from_numpy(place)
        start = stop
    return values


def _checked(network: Network, slot: _Part, weights: Weights) -> NDArray[Any]:
    """A tensor in its stored dtype; BadTensor where its shape is not the network's."""
    array = weights(slot.role, slot.layer)
    shape = graph.weight_shape(network, slot.role)
    if array.shape != shape:
        raise BadTensor(
            tensor=slot.tensor,
            problem=f"its shape is {list(array.shape)}, config.json says {list(shape)}",
            remedy="The weights and config.json belong to different models, or one of them is damaged",
        )
    return array


def _number(network: Network, slot: _Part, stored: NDArray[Any]) -> NDArray[np.float32]:
    """What the graph multiplies by."""
    array = as_float32(stored)
    return np.float32(network.norm_offset) + array if slot.role in NORMS and network.norm_offset else array


def _value(array: NDArray[Any]) -> ort.OrtValue:
    """An array as ONNX Runtime reads it, in place."""
    if array.dtype.kind == "f":
        return ort.OrtValue.ortvalue_from_numpy(array)
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, helper.np_dtype_to_tensor_dtype(array.dtype))
