"""The forward pass of a Network as an ONNX graph for ONNX Runtime's CPU provider.

Weights are inputs of the graph, not initialisers: ONNX Runtime (1.32) copies initialisers into the session, also those
handed over with ``add_external_initializers``, and packs matrices into one more copy. Measured on SmolLM2-135M (538 MB
in float32), for the process: 1,287 MB with packing, 1,139 MB without, 616 MB as inputs, at 19, 26 and about 26 ms a
token; the session is ready in 0.05 s instead of 0.9 s. And several graphs may share the same arrays.

Every weight has a readable name (``layers.3.gate``), and so has every intermediate result worth looking at (see
``observable``), which can be made an output of the graph.

Operators: https://onnx.ai/onnx/operators/ and, for com.microsoft,
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from larqldb.model.network import Network, Rotary

MICROSOFT = "com.microsoft"
OPSETS = (helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1))
IR_VERSION = 10


def weight_name(role: str, layer: int | None) -> str:
    """The name of a weight in the graph: ``embed``, ``layers.3.gate``."""
    return role if layer is None else f"layers.{layer}.{role}"


def weight_shape(network: Network, role: str) -> tuple[int, ...]:
    """The shape of a weight in the graph: [out, in], except ``down``, which is feature-major [ffn, hidden]."""
    shape = network.shape(role)
    return shape[::-1] if role == "down" else shape


def cache_width(head_dim: int) -> int:
    """Numbers per head in the KV cache: GroupQueryAttention rotates multiples of 16 only, others are padded."""
    return -(-head_dim // 16) * 16


def observable(network: Network) -> tuple[str, ...]:
    """The intermediate results ``build`` can expose; b: batch, s: positions.

    ``embedding`` [b, s, hidden]: what enters layer 0. ``head_input`` [b, n, hidden]: normed, at ``wanted``.
    Per layer: ``attention_output`` and ``ffn_output`` [b, s, hidden]: what is added to the residual (so embedding plus
    all of them up to a layer is its ``residual``); ``ffn_input`` [b, s, hidden]: normed, what gates are compared with;
    ``activations`` [b, s, ffn]: act(gate·x), times up·x where the network has ups; ``residual`` [b, s, hidden]: after
    the layer.
    ``queries`` [b, s, heads · head_dim], ``keys`` and ``values`` [b, s, kv_heads · head_dim]: normed where the network
    norms them, not rotated; ``heads`` [b, s, heads · head_dim]: what the heads read, side by side, before ``attn_o``.
    Where the network has post norms, ``attention_unnormed`` and ``ffn_unnormed`` [b, s, hidden] are what enters them.
    """
    kinds = (
        *("queries", "keys", "values", "heads"),
        *("attention_output", "ffn_input", "activations", "ffn_output", "residual"),
        *(("attention_unnormed", "ffn_unnormed") if network.post_norms else ()),
    )
    return ("embedding", *(f"layers.{layer}.{kind}" for layer in range(network.layers) for kind in kinds), "head_input")


def build(network: Network, *, expose: Iterable[str] = ()) -> ModelProto:
    """The graph of ``network``; the names of ``observable`` results in ``expose`` become outputs too.

    Inputs: every weight, float32, under its ``weight_name``; ``ids`` int64 [b, s]; ``wanted`` int64 [b, n], the
    positions (from the end when negative) whose logits to compute; ``last`` int32 [b], the index of each sequence's
    last position, cached ones included; ``total`` int32 [], the largest of them plus one; ``cos.r`` and ``sin.r``
    float32 [positions, cache_width / 2] for each of the network's rotaries; ``past.layers.l.key`` and ``.value``
    float32 [b, kv_heads, cached, cache_width] for each layer.
    Outputs: ``logits`` float32 [b, n, vocab]; ``present.layers.l.key`` and ``.value``: the cache after it.
    """
    graph = Builder(network)
    x = graph.op("Gather", [graph.weight("embed"), "ids"])  # [b, s, hidden]
    if network.embed_scale != 1:
        x = graph.op("Mul", [x, graph.constant(np.float32(network.embed_scale))])
    if network.learned_positions:
        x = graph.op("Add", [x, graph.op("Gather", [graph.weight("positions"), _places(graph)])])
    x = graph.name(x, "embedding")
    for layer in range(network.layers):
        y = attend(graph, graph.norm(x, "attn_norm", layer), layer)
        if network.post_norms:
            y = graph.norm(graph.name(y, f"layers.{layer}.attention_unnormed"), "post_attn_norm", layer)
        x = graph.op("Add", [x, graph.name(y, f"layers.{layer}.attention_output")])
        y = activations(graph, graph.name(graph.norm(x, "ffn_norm", layer), f"layers.{layer}.ffn_input"), layer)
        y = graph.linear(graph.name(y, f"layers.{layer}.activations"), "down", layer)
        if network.post_norms:
            y = graph.norm(graph.name(y, f"layers.{layer}.ffn_unnormed"), "post_ffn_norm", layer)
        x = graph.op("Add", [x, graph.name(y, f"layers.{layer}.ffn_output")])
        x = graph.name(x, f"layers.{layer}.residual")
    wanted = graph.op("Unsqueeze", ["wanted", graph.constant(np.array([2]))])  # [b, n, 1]
    x = graph.op("GatherND", [x, wanted], batch_dims=1)  # [b, n, hidden]: the head is the largest matrix of all
    _head(graph, x)
    return graph.model(expose)


def build_head(network: Network) -> ModelProto:
    """The end of the network alone: ``residual`` float32 [n, hidden] → ``logits`` float32 [n, vocab].

    Its other inputs are the weights it needs, as ``build`` names them.
    """
    graph = Builder(network)
    _head(graph, "residual")
    return graph.finish([_value("residual", ["n", network.hidden])], [_value("logits", ["n", network.vocab])])


def _head(graph: Builder, x: str) -> None:
    """[…, hidden] → ``logits`` […, vocab]."""
    x = graph.name(graph.norm(x, "final_norm"), "head_input")
    x = graph.linear(x, "embed" if graph.network.tied else "head")
    graph.name(graph.softcap(x, graph.network.final_softcap), "logits")


def _places(graph: Builder) -> str:
    """Each token's position in its text, int64 [b, s]: those of a prompt's first part count from 0, padded or not."""
    count = graph.op("Shape", ["ids"], start=1, end=2)  # [1]: s
    one, nothing = graph.constant(np.array([1])), graph.constant(np.array(0))
    ends = graph.op("Add", [graph.op("Cast", ["last"], to=TensorProto.INT64), one])  # [b]
    whole = graph.op("Equal", [graph.op("Cast", ["total"], to=TensorProto.INT64), count])  # [1]
    starts = graph.op("Where", [whole, nothing, graph.op("Sub", [ends, count])])  # [b]
    steps = graph.op("Range", [nothing, graph.op("Squeeze", [count]), graph.constant(np.array(1))])
    return graph.op("Add", [graph.op("Unsqueeze", [starts, one]), steps])


def attend(graph: Builder, x: str, layer: int) -> str:
    """[b, s, hidden] → [b, s, hidden]."""
    network, attention = graph.network, graph.network.attention[layer]
    rotary = attention.rotary
    read = []
    for role, norm, name in (("attn_q", "q_norm", "queries"), ("attn_k", "k_norm", "keys"), ("attn_v", "", "values")):
        part = graph.linear(x, role, layer)
        if network.qk_norm and norm:
            part = graph.head_norm(part, norm, layer)
        read.append(graph.name(part, f"layers.{layer}.{name}"))
    q, k, v = (graph.pad_heads(part, turned) for part, turned in zip(read, (rotary, rotary, None), strict=True))
    tables = rotary_names(network, layer) or ("", "")
    cache = [f"layers.{layer}.{part}" for part in ("key", "value")]
    x = graph.op(
        "GroupQueryAttention",
        [q, k, v, *(f"past.{c}" for c in cache), "last", "total", *tables],
        more_outputs=[f"present.{c}" for c in cache],
        domain=MICROSOFT,
        num_heads=network.heads,
        kv_num_heads=network.kv_heads,
        scale=network.attention_scale,
        softcap=network.attention_softcap or 0.0,
        local_window_size=attention.window or -1,  # counts the token itself, as Hugging Face does
        do_rotary=int(rotary is not None),
        rotary_interleaved=0,
    )
    x = graph.name(graph.unpad_heads(x), f"layers.{layer}.heads")
    return graph.linear(x, "attn_o", layer)


def rotary_names(network: Network, layer: int) -> tuple[str, ...]:
    """The inputs with the cosines and sines that a layer reads; none where it turns nothing."""
    rotary = network.attention[layer].rotary
    number = None if rotary is None else network.rotaries.index(rotary)
    return () if number is None else (f"cos.{number}", f"sin.{number}")


def activations(graph: Builder, x: str, layer: int) -> str:
    """[b, s, hidden] → [b, s, ffn]; the latest node's output, so that it can be named."""
    gate = graph.linear(x, "gate", layer)
    if not graph.network.gated:
        return graph.activation(gate)
    up = graph.linear(x, "up", layer)
    return graph.op("Mul", [graph.activation(gate), up])


class Builder:
    """Nodes and weights of a graph as they are added, in order; ``prefix`` begins the names that it makes up."""

    def __init__(self, network: Network, prefix: str = "") -> None:
        self.network, self.prefix = network, prefix
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, ValueInfoProto] = {}
        self.constants: list[TensorProto] = []
        parts = 2 if network.rotaries else 1  # a head's halves are rotated against each other, so each half is padded
        self.part = network.head_dim // parts
        self.padding = cache_width(network.head_dim) // parts - self.part

    def op(
        self, kind: str, inputs: list[str], *, more_outputs: Iterable[str] = (), domain: str = "", **attributes: Any
    ) -> str:
        """Add a node and return the name of its first output."""
        output = f"{self.prefix}{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output, *more_outputs], domain=domain, **attributes))
        return output

    def name(self, x: str, name: str) -> str:
        """Give the latest node's output ``x`` a lasting name."""
        assert self.nodes[-1].output[0] == x
        self.nodes[-1].output[0] = name
        return name

    def constant(self, value: np.ndarray[Any, Any] | np.generic) -> str:
        """A small constant inside the graph."""
        name = f"{self.prefix}constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, role: str, layer: int | None = None) -> str:
        """A float32 weight."""
        name = weight_name(role, layer)
        self.weights[name] = _value(name, weight_shape(self.network, role))
        return name

    def linear(self, x: str, role: str, layer: int | None = None) -> str:
        """Multiply the last axis by the weight, transposed as it is stored, and add its bias if it has one."""
        transposed = role != "down"
        x = self.op("FusedMatMul", [x, self.weight(role, layer)], domain=MICROSOFT, transB=int(transposed))
        if role in self.network.biases:
            x = self.op("Add", [x, self.weight(f"{role}_bias", layer)])
        return x

    def norm(self, x: str, role: str, layer: int | None = None) -> str:
        """The network's norm over the last axis."""
        inputs = [x, self.weight(role, layer)]
        if role in self.network.biases:
            inputs.append(self.weight(f"{role}_bias", layer))
        kind = "LayerNormalization" if self.network.layer_norm else "SimplifiedLayerNormalization"
        return self.op(kind, inputs, axis=-1, epsilon=self.network.norm_eps)

    def head_norm(self, x: str, role: str, layer: int) -> str:
        """The norm of each head of [b, s, heads · head_dim] by itself."""
        heads = self.op("Reshape", [x, self.constant(np.array([0, 0, -1, self.network.head_dim]))])
        return self.op("Reshape", [self.norm(heads, role, layer), self.constant(np.array([0, 0, -1]))])

    def pad_heads(self, x: str, rotary: Rotary | None) -> str:
        """[b, s, heads · head_dim] → [b, s, heads · cache_width], zeros after each half of a head.

        What ``rotary`` does not turn is put behind what it turns in each half.
        """
        if rotary is not None and rotary.width is not None:
            x = self.op("Reshape", [x, self.constant(np.array([0, 0, -1, self.network.head_dim]))])
            x = self.op("Gather", [x, self.constant(_halves(rotary.width, self.network.head_dim))], axis=3)
            x = self.op("Reshape", [x, self.constant(np.array([0, 0, -1]))])
        if not self.padding:
            return x
        x = self.op("Reshape", [x, self.constant(np.array([0, 0, -1, self.part]))])
        x = self.op("Pad", [x, self.constant(np.array([0, 0, 0, 0, 0, 0, 0, self.padding]))])
        return self.op("Reshape", [x, self.constant(np.array([0, 0, -1]))])

    def unpad_heads(self, x: str) -> str:
        """The inverse of ``pad_heads``."""
        if not self.padding:
            return x
        x = self.op("Reshape", [x, self.constant(np.array([0, 0, -1, self.part + self.padding]))])
        ends = (self.constant(np.array([n])) for n in (0, self.part, 3))
        return self.op("Reshape", [self.op("Slice", [x, *ends]), self.constant(np.array([0, 0, -1]))])

    def activation(self, x: str) -> str:
        """The network's activation function."""
        match self.network.activation:
            case "silu":
                return self.op("Mul", [x, self.op("Sigmoid", [x])])
            case "gelu_tanh":
                return self.op("Gelu", [x], approximate="tanh")
            case "gelu":
                return self.op("Gelu", [x])
            case "relu":
                return self.op("Relu", [x])
        raise AssertionError(self.network.activation)

    def softcap(self, x: str, cap: float | None) -> str:
        """Bend x smoothly to stay between -cap and cap: cap · tanh(x / cap)."""
        if cap is None:
            return x
        constant = self.constant(np.float32(cap))
        return self.op("Mul", [self.op("Tanh", [self.op("Div", [x, constant])]), constant])

    def model(self, expose: Iterable[str]) -> ModelProto:
        """The finished graph with its inputs and outputs."""
        network = self.network
        width = cache_width(network.head_dim)
        inputs = [
            _value("ids", ["b", "s"], TensorProto.INT64),
            _value("wanted", ["b", "n"], TensorProto.INT64),
            _value("last", ["b"], TensorProto.INT32),
            _value("total", [], TensorProto.INT32),
        ]
        for rotary in range(len(network.rotaries)):
            inputs += [_value(f"{part}.{rotary}", ["positions", width // 2]) for part in ("cos", "sin")]
        caches = [f"layers.{layer}.{part}" for layer in range(network.layers) for part in ("key", "value")]
        inputs += [_value(f"past.{c}", ["b", network.kv_heads, "cached", width]) for c in caches]
        outputs = [_value("logits", ["b", "n", network.vocab])]
        outputs += [_value(f"present.{c}", ["b", network.kv_heads, "all", width]) for c in caches]
        outputs += [_value(name, ["b", None, None]) for name in expose]
        return self.finish(inputs, outputs)

    def finish(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        """A graph of the nodes so far; the weights they use are inputs besides ``inputs``."""
        inputs = [*inputs, *self.weights.values()]
        graph = helper.make_graph(self.nodes, self.network.family, inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION)


def _halves(width: int, head_dim: int) -> NDArray[np.int64]:
    """The order of a head's numbers in which those that are turned against each other are half a head apart."""
    turned, kept = np.arange(width).reshape(2, -1), np.arange(width, head_dim).reshape(2, -1)
    return np.concatenate([turned, kept], axis=1).reshape(-1)


def _value(name: str, shape: Sequence[str | int | None], kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
