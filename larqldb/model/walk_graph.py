"""The walk's graphs: a layer up to its activations, the pulled rows' sum, and the head, each a small model of its own.

The network is cut where Python chooses features. Matrices are constants in 8-bit blocks: a quarter of float32's bytes,
and as many fewer to read for each token. ONNX Runtime lays them out for its kernels and then lets go of those handed
over with ``add_external_initializers``, but not of those inside a model (measured: 1.2 and 2.2 times their bytes stay);
and with small graphs only one of them is in memory twice at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from larqldb.model.dtypes import as_float32
from larqldb.model.graph import MICROSOFT, Builder, activations, attend, cache_width, rotary_names
from larqldb.model.network import NORMS
from larqldb.model.quantise import BLOCK, quantise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.network import Network

Weights = Callable[[str, int | None], "NDArray[Any]"]

BITS = 8
INTEGERS = 4  # MatMulNBits' accuracy level: activations in 8 bits too, by blocks


@dataclass(frozen=True)
class Graph:
    """A model and the constants to hand over beside it, by name."""

    model: ModelProto
    constants: dict[str, NDArray[Any]]


class EightBits(Builder):
    """A graph whose weights are constants: matrices in 8-bit blocks, vectors in float32."""

    def __init__(self, network: Network, weights: Weights) -> None:
        super().__init__(network)
        self._weights = weights
        self._beside: dict[str, NDArray[Any]] = {}

    def weight(self, role: str, layer: int | None = None) -> str:
        """A norm's or bias's vector, a norm's offset added."""
        vector = as_float32(self._weights(role, layer))
        return self.constant(np.float32(self.network.norm_offset) + vector if role in NORMS else vector)

    def linear(self, x: str, role: str, layer: int | None = None) -> str:
        """Multiply the last axis by the matrix, and add its bias if it has one."""
        x = self.multiply(x, self._weights(role, layer))
        if role in self.network.biases:
            x = self.op("Add", [x, self.weight(f"{role}_bias", layer)])
        return x

    def multiply(self, x: str, matrix: NDArray[Any]) -> str:
        """Multiply the last axis by a matrix [out, in]."""
        blocks = quantise(matrix, BITS)
        out, into = blocks.shape
        inputs = [x, self._hand_over(blocks.levels), self._hand_over(blocks.scales)]
        return self.op(
            "MatMulNBits", inputs, domain=MICROSOFT, K=into, N=out, bits=BITS, block_size=BLOCK, accuracy_level=INTEGERS
        )

    def done(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> Graph:
        """The finished graph."""
        return Graph(self.finish(inputs, outputs), self._beside)

    def _hand_over(self, array: NDArray[Any]) -> str:
        """A constant declared as external data, whose location nobody looks at."""
        name = f"beside.{len(self._beside)}"
        self._beside[name] = array
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "beside"), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        self.constants.append(tensor)
        return name

    def after(self, layer: int) -> str:
        """The residual after a layer: its ``x``, with what its features add, ``y``."""
        y = "y"
        if "down" in self.network.biases:
            y = self.op("Add", [y, self.weight("down_bias", layer)])
        if self.network.post_norms:
            y = self.norm(y, "post_ffn_norm", layer)
        return self.op("Add", ["x", y])


def layer_graph(network: Network, weights: Weights, layer: int) -> Graph:
    """A layer from the residual before it to its features' activations.

    Inputs, float32: ``x`` [1, s, hidden], the residual after the attention of the layer before, and ``y`` [1, s,
    hidden], the sum of that layer's features (for layer 0 ``x`` alone, the embeddings); ``last``, ``total``, ``cos.r``,
    ``sin.r``, ``past.layers.l.key`` and ``.value`` as in ``graph.build``.
    Outputs: ``residual`` [1, s, hidden] after attention, ``activations`` [1, s, ffn], and the ``present`` cache.
    """
    graph = EightBits(network, weights)
    x = graph.after(layer - 1) if layer else "x"
    y = attend(graph, graph.norm(x, "attn_norm", layer), layer)
    if network.post_norms:
        y = graph.norm(y, "post_attn_norm", layer)
    x = graph.name(graph.op("Add", [x, y]), "residual")
    x = graph.norm(x, "ffn_norm", layer)
    graph.name(activations(graph, x, layer), "activations")
    hidden, width = network.hidden, cache_width(network.head_dim)
    inputs = [_floats(name, [1, "s", hidden]) for name in (("x", "y") if layer else ("x",))]
    inputs += [_value("last", [1], TensorProto.INT32), _value("total", [], TensorProto.INT32)]
    inputs += [_floats(name, ["positions", width // 2]) for name in rotary_names(network, layer)]
    caches = [f"layers.{layer}.{part}" for part in ("key", "value")]
    inputs += [_floats(f"past.{cache}", [1, network.kv_heads, "cached", width]) for cache in caches]
    outputs = [_floats("residual", [1, "s", hidden]), _floats("activations", [1, "s", network.ffn])]
    outputs += [_floats(f"present.{cache}", [1, network.kv_heads, "all", width]) for cache in caches]
    return graph.done(inputs, outputs)


def head_graph(network: Network, weights: Weights, rows: NDArray[Any]) -> Graph:
    """The end of the network for some rows of the head [part, hidden]: ``x``, ``y`` [1, s, hidden] → ``logits``."""
    graph = EightBits(network, weights)
    x = graph.multiply(graph.norm(graph.after(network.layers - 1), "final_norm"), rows)
    graph.name(graph.softcap(x, network.final_softcap), "logits")
    inputs = [_floats(name, [1, "s", network.hidden]) for name in ("x", "y")]
    return graph.done(inputs, [_floats("logits", [1, "s", len(rows)])])


def pull_graph(network: Network, kind: int) -> Graph:
    """What some features add: Σ amount · row.

    Inputs: ``rows`` [capacity, hidden] of ONNX's type ``kind``, ``places`` int64 [n] in it, ``amounts`` float32 [s, n].
    Output: ``y`` float32 [1, s, hidden].
    """
    graph = Builder(network)
    rows = graph.op("Gather", ["rows", "places"], axis=0)
    if kind != TensorProto.FLOAT:
        rows = graph.op("Cast", [rows], to=TensorProto.FLOAT)
    y = graph.op("MatMul", ["amounts", rows])
    graph.name(graph.op("Unsqueeze", [y, graph.constant(np.array([0]))]), "y")
    inputs = [
        _value("rows", ["capacity", network.hidden], kind),
        _value("places", ["n"], TensorProto.INT64),
        _floats("amounts", ["s", "n"]),
    ]
    return Graph(graph.finish(inputs, [_floats("y", [1, "s", network.hidden])]), {})


def _floats(name: str, shape: list[str | int]) -> ValueInfoProto:
    return _value(name, shape, TensorProto.FLOAT)


def _value(name: str, shape: list[str | int], kind: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
