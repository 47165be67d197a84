"""The end of a network alone: what its last layers make of residuals, so that trying an edit costs only them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.edit.forest import Sight, nobody
from larqldb.edit.reading import no_further
from larqldb.knowledge.together import by_places

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.runner import Runner

    Floats = NDArray[np.float32]
    Numbers = NDArray[np.int64]


class Tail:
    """The layers after ``layer``, with the weights and changes of a runner."""

    def __init__(self, runner: Runner, layer: int) -> None:
        self.layer = layer
        self.network = runner.network
        self._source = f"layers.{layer}.residual"
        self._end = f"layers.{self.network.layers - 1}.residual"
        after = range(layer + 1, self.network.layers)
        self._caches = [f"layers.{number}.{part}" for number in after for part in ("key", "value")]
        if self._caches:
            self._changed = runner.changed(self._cut, {}, expose=[self._end])
            self._read = {value.name for value in self._changed.session.get_inputs()}

    def of(self, runner: Runner) -> Tail:
        """The same of a runner that has the same graph with other numbers."""
        if not self._caches:
            return self
        tail = copy(self)
        tail._changed = copy(self._changed)
        tail._changed.weights = runner.weights
        return tail

    def begin(self) -> Reading:
        """Nothing read yet."""
        nothing = nobody(self.network)
        return Reading(self, Sight(), {f"past.{cache}": nothing for cache in self._caches})

    def run(
        self, sight: Sight, residuals: Floats, cache: dict[str, ort.OrtValue]
    ) -> tuple[Floats, dict[str, ort.OrtValue]]:
        """What the last layer leaves behind [n, hidden] for the latest nodes of ``sight``, and the cache with them."""
        if not self._caches:
            return residuals, {}
        feeds: dict[str, NDArray[Any]] = {
            self._source: np.ascontiguousarray(residuals[None], np.float32),
            "last": np.array([len(sight)], np.int32),
            "total": np.array(len(sight) + 1, np.int32),
            "places": sight.places[None, -len(residuals) :],
            **sight.biases(self.network, len(residuals)),
            **self._changed.rotary_tables(len(sight) + 1),
        }
        given = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items() if name in self._read}
        given |= {name: value for name, value in self._changed.weights.items() if name in self._read} | cache
        outputs = [self._end, *(f"present.{name}" for name in self._caches)]
        end, *kept = self._changed.session.run_with_ort_values(outputs, given, no_further())
        return end.numpy()[0], {f"past.{name}": value for name, value in zip(self._caches, kept, strict=True)}

    def _cut(self, model: ModelProto) -> None:
        """Leave out of a graph what only leads up to the residuals, which become an input, and the head."""
        from onnx import TensorProto, helper

        by_places(model, self.network)
        made = model.graph
        kept = {self._end, *(f"present.{name}" for name in self._caches)}
        makers = {output: node for node in made.node for output in node.output}
        needed, waiting = set(), list(kept)
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting += () if name == self._source or name not in makers else makers[name].input
        nodes = [
            node for node in made.node if self._source not in node.output and any(out in needed for out in node.output)
        ]
        constants = [constant for constant in made.initializer if constant.name in needed]
        shape: list[str | int | None] = ["b", "s", self.network.hidden]
        inputs = [value for value in made.input if value.name in needed and value.name != self._source]
        inputs.append(helper.make_tensor_value_info(self._source, TensorProto.FLOAT, shape))
        outputs = [value for value in made.output if value.name in kept]
        for kind, parts in (("node", nodes), ("initializer", constants), ("input", inputs), ("output", outputs)):
            del getattr(made, kind)[:]
            getattr(made, kind).extend(parts)


class Reading:
    """Nodes that the end of a network has read; what comes out of ``more`` goes on from them."""

    def __init__(self, tail: Tail, sight: Sight, cache: dict[str, ort.OrtValue]) -> None:
        self._tail, self._sight, self._cache = tail, sight, cache

    def __len__(self) -> int:
        return len(self._sight)

    def more(self, parents: Sequence[int] | Numbers, residuals: Floats) -> tuple[Floats, Reading]:
        """Read more nodes, each behind a parent among all nodes, in order: final residuals [n, hidden]; see ``Sight``.

        This reading stays as it is, so that others can go on from it.
        """
        sight = self._sight.grown(parents)
        end, cache = self._tail.run(sight, residuals, self._cache)
        return end, Reading(self._tail, sight, cache)
