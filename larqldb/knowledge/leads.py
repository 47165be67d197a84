"""How much features and heads do for a token's lead over another: what they write, and what later FFNs make of it.

What a part writes at the position before an answer adds to the logits by itself, and changes what the FFNs of later
layers read there; often these refill what it wrote, or build on it. So the lead is followed back through those FFNs and
the norms before them, by its derivative. Attention and the scale of the final norm are held as they are: what parts do
elsewhere in the text is not seen. Measured on Gemma 3 270M: without the 16 and 32 strongest parts 75 and 83 % of the
answers change when parts are ranked by what they add to the lead directly, 92 and 100 % by this (12 edges).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, ValueInfoProto, helper

from larqldb.model import graph
from larqldb.model.graph import Builder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session
    from larqldb.model.network import Network

    Floats = NDArray[np.float32]

STEP = 1 / 64  # of the central difference that an activation function's slope is: errors of about 1e-4


class Leads:
    """Follows leads back through one session's network."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._layer = _layer(session.network)
        self.watched = watched(session.network)

    def table(self, seen: Mapping[str, Floats], rows: Sequence[int], towards: Floats) -> Floats:
        """What every part does for leads, at some ``rows`` of the results of a run: [n, layers, features + heads].

        ``towards`` [n, hidden] is what the lead is of the last layer's residual, its derivative. Within a layer come
        the features, then the heads.
        """
        session, network, chosen = self._session, self._session.network, np.asarray(rows)
        table = np.empty((len(chosen), network.layers, network.ffn + network.heads), np.float32)
        for layer in reversed(range(network.layers)):
            results = {kind: seen[f"layers.{layer}.{kind}"][chosen] for kind in _watched(network)}
            weights = {role: session.matrix(role, layer) for role in _matrices(network)}
            weights |= {role: session.norm(role, layer) for role in _norms(network)}
            for role in ("gate", "up"):
                if (bias := session.bias(role, layer)) is not None:
                    weights[f"{role}_bias"] = bias
            table[:, layer], towards = self._layer.run(None, {"towards": towards, **results, **weights})
        return table


def watched(network: Network) -> tuple[str, ...]:
    """The results of a run that are needed."""
    return tuple(f"layers.{layer}.{kind}" for layer in range(network.layers) for kind in _watched(network))


def _watched(network: Network) -> tuple[str, ...]:
    norms = ("ffn_unnormed", "attention_unnormed") if network.post_norms else ()
    return ("activations", "heads", "ffn_input", "ffn_output", "residual", *norms)


def _matrices(network: Network) -> tuple[str, ...]:
    return ("gate", *(("up",) if network.gated else ()), "down", "attn_o")


def _norms(network: Network) -> tuple[str, ...]:
    return ("ffn_norm", *(("post_ffn_norm", "post_attn_norm") if network.post_norms else ()))


def _layer(network: Network) -> ort.InferenceSession:
    """One layer, backwards: ``towards`` after it → what its parts do, and ``towards`` before it."""
    builder = _Backward(network)
    ffn = builder.through("towards", "ffn_unnormed", "post_ffn_norm") if network.post_norms else "towards"
    worth = builder.product(ffn, "down", transposed=True)  # [n, ffn]
    features = builder.op("Mul", [worth, "activations"])
    between = builder.op("Sub", ["residual", "ffn_output"])  # what the norm before the FFN reads
    back = builder.through(builder.ffn(worth), between, "ffn_norm")
    before = builder.op("Add", ["towards", back])
    attention = builder.through(before, "attention_unnormed", "post_attn_norm") if network.post_norms else before
    numbers = builder.op("Mul", [builder.product(attention, "attn_o"), "heads"])
    by_head = builder.op("Reshape", [numbers, builder.constant(np.array([-1, network.heads, network.head_dim]))])
    heads = builder.op("ReduceSum", [by_head, builder.constant(np.array([2]))], keepdims=0)
    parts = builder.op("Concat", [features, heads], axis=1)

    wide = {"activations": network.ffn, "heads": network.heads * network.head_dim}
    inputs = [_value(kind, ["n", wide.get(kind, network.hidden)]) for kind in ("towards", *_watched(network))]
    inputs += [_value(role, [*graph.weight_shape(network, role)]) for role in _matrices(network)]
    inputs += [_value(role, [network.hidden]) for role in _norms(network)]
    inputs += [_value(f"{role}_bias", [network.ffn]) for role in ("gate", "up") if role in network.biases]
    outputs = [_value(parts, ["n", network.ffn + network.heads]), _value(before, ["n", network.hidden])]
    options = ort.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the network's threads are waiting too
    model = builder.finish(inputs, outputs)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class _Backward(Builder):
    """Derivatives of what a layer is made of, as nodes."""

    def product(self, x: str, matrix: str, *, transposed: bool = False) -> str:
        """[n, a] and [a, b], or [b, a] to be transposed → [n, b]."""
        return self.op("FusedMatMul", [x, matrix], domain=graph.MICROSOFT, transB=int(transposed))

    def mean(self, x: str) -> str:
        """[n, hidden] → [n, 1]."""
        return self.op("ReduceMean", [x, self.constant(np.array([1]))])

    def through(self, towards: str, x: str, weight: str) -> str:
        """``towards`` what a norm of ``x`` writes → towards x, [n, hidden]."""
        if self.network.layer_norm:
            x = self.op("Sub", [x, self.mean(x)])
        square = self.op("Add", [self.mean(self.op("Mul", [x, x])), self.constant(np.float32(self.network.norm_eps))])
        size = self.op("Sqrt", [square])
        unit, weighted = self.op("Div", [x, size]), self.op("Mul", [towards, weight])
        along = self.op("Mul", [unit, self.mean(self.op("Mul", [weighted, unit]))])
        before = self.op("Div", [self.op("Sub", [weighted, along]), size])
        return self.op("Sub", [before, self.mean(before)]) if self.network.layer_norm else before

    def ffn(self, worth: str) -> str:
        """What activations are ``worth`` [n, ffn] → towards ``ffn_input`` [n, hidden]."""
        gate, step = self._enter("gate"), self.constant(np.float32(STEP))
        more, less = (self.activation(self.op(kind, [gate, step])) for kind in ("Add", "Sub"))
        slope = self.op("Mul", [self.op("Sub", [more, less]), self.constant(np.float32(0.5 / STEP))])
        if not self.network.gated:
            return self.product(self.op("Mul", [worth, slope]), "gate")
        by_gate = self.op("Mul", [self.op("Mul", [worth, self._enter("up")]), slope])
        by_up = self.op("Mul", [worth, self.activation(gate)])
        return self.op("Add", [self.product(by_gate, "gate"), self.product(by_up, "up")])

    def _enter(self, role: str) -> str:
        """gate·x or up·x, [n, ffn]."""
        x = self.product("ffn_input", role, transposed=True)
        return self.op("Add", [x, f"{role}_bias"]) if role in self.network.biases else x


def _value(name: str, shape: list[str | int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
