"""What features and heads add to the logits of tokens, for many texts at a time.

The shares are those of ``larqldb.model.explain``: exact parts of the logit with the norms held at their actual scale.
What they do for the lead over another token is a derivative (``larqldb.knowledge.leads``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from larqldb.knowledge.leads import Leads
from larqldb.model import graph
from larqldb.storage.dtypes import as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session
    from larqldb.model.network import Network


@dataclass(frozen=True)
class Shares:
    """What wrote one token: its ``logit`` before any cap, and the parts that are not negligible.

    ``parts`` int64 [n] number features and heads (``Parts.number``), ``shares`` float32 [n] are what they add to the
    logit, ``leads`` float32 [n] what they do for its ``lead`` over the logit of another token, with what later FFNs
    make of it (``larqldb.knowledge.leads``). ``sizes`` float32 [n] are the L2 norms of all that they write:
    |activation|·‖down‖ for a feature.
    """

    logit: float
    lead: float
    parts: NDArray[np.int64]
    shares: NDArray[np.float32]
    leads: NDArray[np.float32]
    sizes: NDArray[np.float32]


@dataclass(frozen=True)
class Parts:
    """Numbers for the features and heads of a network: each layer's features first, then its heads."""

    features: int
    heads: int
    head_dim: int

    @classmethod
    def of(cls, network: Network) -> Parts:
        """Those of a network."""
        return cls(network.ffn, network.heads, network.head_dim)

    @property
    def width(self) -> int:
        """How many a layer has."""
        return self.features + self.heads

    def read(self, number: int) -> tuple[str, int, int]:
        """Kind, layer and index of a part."""
        layer, index = divmod(int(number), self.width)
        return ("feature", layer, index) if index < self.features else ("head", layer, index - self.features)

    def weight(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """What to multiply by to compare a head, which writes ``head_dim`` numbers, with a feature."""
        return np.where(numbers % self.width < self.features, 1.0, self.head_dim**-0.25)

    def number(self, kind: str, layer: int, index: int) -> int:
        """The number of a part."""
        return layer * self.width + index + (self.features if kind == "head" else 0)


class Evidence:
    """Finds what wrote tokens from what ``watched`` names, the results of a run at the positions before them."""

    def __init__(self, session: Session, floor: float) -> None:
        self._session = session
        self.network = session.network
        self.parts = Parts.of(self.network)
        self._floor = floor
        self._leads = Leads(session)
        self.watched = tuple(dict.fromkeys((*watched(self.network), *self._leads.watched)))
        self._head_squares = [self._squares(layer) for layer in session.layers]
        self._products = _products(self.network)
        self._down_norms = [np.linalg.norm(session.matrix("down", layer), axis=1) for layer in session.layers]

    def shares(
        self,
        seen: Mapping[str, NDArray[np.float32]],
        rows: Sequence[int],
        tokens: Sequence[int],
        against: Sequence[int],
    ) -> list[Shares]:
        """What wrote each token after each of some ``rows`` of the results, and its lead over another, ``against``.

        Parts come with ``floor`` of the logit or more of either.
        """
        if not rows:
            return []
        table, logits = self.table(seen, rows, tokens)
        towards, others = (self._towards(seen, rows, each) for each in (tokens, against))
        towards -= others
        leads = self._leads.table(seen, rows, towards).reshape(table.shape)
        lead = np.einsum("nh,nh->n", self._last(seen, rows), towards)
        sizes, made = self.sizes(seen, rows), []
        for i, logit in enumerate(logits.tolist()):
            parts = np.flatnonzero(np.maximum(np.abs(table[i]), np.abs(leads[i])) >= self._floor * abs(logit))
            made.append(Shares(logit, float(lead[i]), parts, table[i, parts], leads[i, parts], sizes[i, parts]))
        return made

    def sizes(self, seen: Mapping[str, NDArray[np.float32]], rows: Sequence[int]) -> NDArray[np.float32]:
        """The L2 norm of what every part writes at each of some rows, [n, layers · (features + heads)]."""
        network, chosen = self.network, np.asarray(rows)
        table = np.empty((len(chosen), network.layers, self.parts.width), np.float32)
        for layer in range(network.layers):
            activations = np.abs(seen[f"layers.{layer}.activations"][chosen])
            np.multiply(activations, self._down_norms[layer], out=table[:, layer, : network.ffn])
            heads = seen[f"layers.{layer}.heads"][chosen].reshape(len(chosen), network.heads, -1)
            squares = np.einsum("nhd,hde,nhe->nh", heads, self._head_squares[layer], heads, optimize=True)
            table[:, layer, network.ffn :] = np.sqrt(np.maximum(squares, 0))
        return table.reshape(len(chosen), -1)

    def table(
        self, seen: Mapping[str, NDArray[np.float32]], rows: Sequence[int], tokens: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What every part adds to a token's logit after each of some rows, [n, layers · (features + heads)].

        And the logits, [n]: what all parts and the embedding add up to.
        """
        network, chosen = self.network, np.asarray(rows)
        towards = self._towards(seen, rows, tokens)
        table = np.empty((len(chosen), network.layers, self.parts.width), np.float32)
        for layer in range(network.layers):
            name = f"layers.{layer}."
            ffn, attention = towards, towards
            if network.post_norms:
                post_ffn, post_attention = (self._session.norm(f"post_{b}_norm", layer) for b in ("ffn", "attn"))
                ffn = _through(network, towards, seen[f"{name}ffn_unnormed"][chosen], post_ffn)
                attention = _through(network, towards, seen[f"{name}attention_unnormed"][chosen], post_attention)
            table[:, layer] = self._products.run(
                None,
                {
                    "ffn": ffn,
                    "down": self._session.matrix("down", layer),
                    "activations": seen[f"{name}activations"][chosen],
                    "attention": attention,
                    "output": self._session.matrix("attn_o", layer),
                    "read": seen[f"{name}heads"][chosen],
                },
            )[0]
        return table.reshape(len(chosen), -1), np.einsum("nh,nh->n", self._last(seen, rows), towards)

    def _towards(
        self, seen: Mapping[str, NDArray[np.float32]], rows: Sequence[int], tokens: Sequence[int]
    ) -> NDArray[np.float32]:
        """What tokens' logits are of the last layer's residual, the final norm's scale held: [n, hidden]."""
        norm = self._session.norm("final_norm", None)
        return _through(self.network, self._head(tokens), self._last(seen, rows), norm)

    def _last(self, seen: Mapping[str, NDArray[np.float32]], rows: Sequence[int]) -> NDArray[np.float32]:
        """The last layer's residual, [n, hidden]."""
        return np.asarray(seen[f"layers.{self.network.layers - 1}.residual"][np.asarray(rows)])

    def _squares(self, layer: int) -> NDArray[np.float32]:
        """For each head the matrix S with x·S·x = ‖what it writes when it reads x‖²: [heads, head_dim, head_dim]."""
        output = self._session.matrix("attn_o", layer).reshape(self.network.hidden, self.network.heads, -1)
        return np.asarray(np.einsum("whd,whe->hde", output, output, optimize=True))

    def _head(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The tokens' rows of the head, float32 [n, hidden]."""
        return as_float32(self._session.store.read_rows("embed" if self.network.tied else "head", list(tokens)))


def _products(network: Network) -> ort.InferenceSession:
    """What a layer's features and heads add by the directions ``ffn`` and ``attention`` [n, hidden].

    Here and not in numpy, whose threads and ONNX Runtime's wait for each other: that took five times as long.
    """
    sizes: dict[str, list[str | int | None]] = {
        "ffn": ["n", network.hidden],
        "down": [network.ffn, network.hidden],
        "activations": ["n", network.ffn],
        "attention": ["n", network.hidden],
        "output": [network.hidden, network.heads * network.head_dim],
        "read": ["n", network.heads * network.head_dim],
    }
    nodes = [
        helper.make_node("FusedMatMul", ["ffn", "down"], ["worth"], domain=graph.MICROSOFT, transB=1),
        helper.make_node("Mul", ["worth", "activations"], ["features"]),
        helper.make_node("MatMul", ["attention", "output"], ["seen"]),
        helper.make_node("Mul", ["seen", "read"], ["numbers"]),
        helper.make_node("Reshape", ["numbers", "shape"], ["by_head"]),
        helper.make_node("ReduceSum", ["by_head", "axis"], ["heads"], keepdims=0),
        helper.make_node("Concat", ["features", "heads"], ["parts"], axis=1),
    ]
    constants = [
        numpy_helper.from_array(np.array([-1, network.heads, network.head_dim]), "shape"),
        numpy_helper.from_array(np.array([2]), "axis"),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sizes.items()]
    outputs = [helper.make_tensor_value_info("parts", TensorProto.FLOAT, ["n", network.ffn + network.heads])]
    made = helper.make_graph(nodes, "evidence", inputs, outputs, constants)
    model = helper.make_model(made, opset_imports=graph.OPSETS, ir_version=graph.IR_VERSION)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def watched(network: Network) -> tuple[str, ...]:
    """The results of a run that shares are computed from."""
    kinds = ["activations", "heads"]
    if network.post_norms:
        kinds += ["attention_unnormed", "ffn_unnormed"]
    layers = range(network.layers)
    return (*(f"layers.{layer}.{kind}" for layer in layers for kind in kinds), f"layers.{layers[-1]}.residual")


def _through(
    network: Network, towards: NDArray[np.float32], unnormed: NDArray[np.float32], norm: NDArray[np.float32]
) -> NDArray[np.float32]:
    """``explain.through_norm`` for many: ``towards`` before a norm that each of ``unnormed`` enters, [n, hidden]."""
    x = unnormed - unnormed.mean(axis=1, keepdims=True) if network.layer_norm else unnormed
    before = towards * norm / np.sqrt(np.mean(np.square(x), axis=1, keepdims=True) + np.float32(network.norm_eps))
    return np.asarray(before - before.mean(axis=1, keepdims=True) if network.layer_norm else before)
