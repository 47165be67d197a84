"""The end of a network alone: what its last layers make of residuals, so that trying an edit costs only them."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.model import graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.runner import Runner


class Tail:
    """The layers after ``layer`` and the head, with the weights and changes of a runner."""

    def __init__(self, runner: Runner, layer: int) -> None:
        self.layer = layer
        self.network = runner.network
        self._source = f"layers.{layer}.residual"
        self._changed = runner.changed(self._cut, {})
        self._read = {value.name for value in self._changed.session.get_inputs()}

    def of(self, runner: Runner) -> Tail:
        """The same of a runner that has the same graph with other numbers."""
        tail = copy(self)
        tail._changed = copy(self._changed)
        tail._changed.weights = runner.weights
        return tail

    def logits(self, residuals: Sequence[NDArray[np.float32]], wanted: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits at ``wanted`` positions of texts whose ``residuals`` [positions, hidden] after the layer are given.

        As many wanted positions for every text: float32 [texts, wanted, vocab].
        """
        network, longest = self.network, max(map(len, residuals))
        given = np.zeros((len(residuals), longest, network.hidden), np.float32)
        for row, residual in zip(given, residuals, strict=True):
            row[: len(residual)] = residual
        empty = np.empty((len(residuals), network.kv_heads, 0, graph.cache_width(network.head_dim)), np.float32)
        feeds: dict[str, NDArray[Any]] = {
            self._source: given,
            "wanted": np.array(wanted, np.int64),
            "last": np.array([len(residual) - 1 for residual in residuals], np.int32),
            "total": np.array(longest, np.int32),
            **self._changed.rotary_tables(longest),
        }
        for layer in range(self.layer + 1, network.layers):
            feeds |= {f"past.layers.{layer}.{part}": empty for part in ("key", "value")}
        values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items() if name in self._read}
        values |= {name: value for name, value in self._changed.weights.items() if name in self._read}
        logits: NDArray[np.float32] = self._changed.session.run_with_ort_values(["logits"], values)[0].numpy()
        return logits

    def _cut(self, model: ModelProto) -> None:
        """Leave out of a graph what only leads up to the residuals, which become an input."""
        from onnx import TensorProto, helper

        made = model.graph
        makers = {output: node for node in made.node for output in node.output}
        needed, waiting = set(), ["logits"]
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += () if name == self._source or name not in makers else makers[name].input
        nodes = [
            node for node in made.node if self._source not in node.output and any(out in needed for out in node.output)
        ]
        for kind, kept in (("node", nodes), ("initializer", [i for i in made.initializer if i.name in needed])):
            del getattr(made, kind)[:]
            getattr(made, kind).extend(kept)
        shape: list[str | int | None] = ["b", "s", self.network.hidden]
        inputs = [value for value in made.input if value.name in needed and value.name != self._source]
        inputs.append(helper.make_tensor_value_info(self._source, TensorProto.FLOAT, shape))
        outputs = [value for value in made.output if value.name == "logits"]
        for kind, kept in (("input", inputs), ("output", outputs)):
            del getattr(made, kind)[:]
            getattr(made, kind).extend(kept)
