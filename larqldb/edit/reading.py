"""What a layer sees and leaves behind on many texts, read in few runs up to that layer."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.edit.forest import Forest, Sight, nobody, together
from larqldb.knowledge.together import by_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.runner import Runner

    Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Seen:
    """One text at a layer, float32 [positions, hidden] each.

    ``inputs``: what its gates are compared with; ``residual``: what it leaves behind; ``output``: what its FFN adds to
    that; ``written``: the same before any norm.
    """

    inputs: Floats
    residual: Floats
    output: Floats
    written: Floats

    def part(self, which: slice) -> Seen:
        """Some of the positions."""
        return Seen(self.inputs[which], self.residual[which], self.output[which], self.written[which])

    @property
    def nbytes(self) -> int:
        """The memory it takes; ``output`` and ``written`` may be the same."""
        return self.inputs.nbytes + self.residual.nbytes + self.output.nbytes + self.written.nbytes


class Reader:
    """A network that reads texts as far as a layer; make one for each graph and keep it."""

    def __init__(self, runner: Runner, layer: int) -> None:
        network = self._network = runner.network
        kinds = ("ffn_input", "residual", "ffn_output", "ffn_unnormed" if network.post_norms else "ffn_output")
        self._names = [f"layers.{layer}.{kind}" for kind in kinds]
        expose = list(dict.fromkeys(self._names))
        self._changed = runner.changed(lambda model: by_places(model, network), {}, expose=expose)

    def of(self, runner: Runner) -> Reader:
        """The same of a runner that has the same graph with other numbers."""
        reader = copy(self)
        reader._changed = copy(self._changed)
        reader._changed.weights = runner.weights
        return reader

    def read(self, texts: Sequence[Sequence[int]]) -> list[Seen]:
        """What the layer sees of each text. Raises BadPrompt."""
        for ids in texts:
            self._changed.check(ids)
        found: dict[int, Seen] = {}
        for chosen in together(texts):
            forest = Forest([texts[number] for number in chosen])
            seen = self._run(forest)
            for number, path in zip(chosen, forest.paths, strict=True):
                found[number] = Seen(*(seen[name][path] for name in self._names))
        return [found[number] for number in range(len(texts))]

    def ends(self, texts: Sequence[Sequence[int]]) -> Floats:
        """What the layer's gates see at the end of each text: float32 [texts, hidden]. Raises BadPrompt."""
        return np.stack([one.inputs[-1] for one in self.read(texts)])

    def _run(self, forest: Forest) -> dict[str, Floats]:
        """What is watched at each node: [nodes, hidden]."""
        network, count = self._network, len(forest)
        sight = Sight().grown(forest.parents)
        caches = (f"past.layers.{layer}.{part}" for layer in range(network.layers) for part in ("key", "value"))
        feeds: dict[str, NDArray[Any]] = {
            "ids": forest.ids[None],
            "wanted": np.array([[count - 1]], np.int64),
            "last": np.array([count], np.int32),
            "total": np.array(count + 1, np.int32),
            "places": sight.places[None],
            **sight.biases(network, count),
            **self._changed.rotary_tables(count + 1),
        }
        given = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
        given |= {**self._changed.weights, **dict.fromkeys(caches, nobody(network))}
        names = list(dict.fromkeys(self._names))
        results = self._changed.session.run_with_ort_values(names, given, no_further())
        return {name: value.numpy()[0] for name, value in zip(names, results, strict=True)}


def no_further() -> ort.RunOptions:
    """A run that leaves out what no output depends on: the layers after those watched, and the head."""
    options = ort.RunOptions()
    options.only_execute_path_to_fetches = True
    return options
