"""Many prompts read at once, with what the network made of them on the way."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.model import graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.runner import Runner

TOKENS = 1024  # of a run, padding included: bounds activations
PROMPTS = 64  # and how many: bounds their logits
WATCHED = ".at_wanted"


class Reader:
    """A network that reads prompts in batches; make one for each runner and keep it.

    ``watched`` are results of ``graph.observable`` that come back at the positions asked about. ``logits``: whether
    those come too, or only what is watched.
    """

    def __init__(self, runner: Runner, watched: Sequence[str], *, logits: bool = True) -> None:
        self.watched = tuple(watched)
        self._logits = logits
        self._changed = runner.changed(self._alter, {})

    def of(self, runner: Runner) -> Reader:
        """The same of a runner that has the same graph with other numbers."""
        reader = copy(self)
        reader._changed = copy(self._changed)
        reader._changed.weights = runner.weights
        return reader

    def read(self, prompts: Sequence[Sequence[int]]) -> dict[str, NDArray[np.float32]]:
        """What is watched at the last token of each prompt [n, width], and ``logits`` [n, vocab]. Raises BadPrompt."""
        found: dict[str, NDArray[np.float32]] = {}
        for chosen in self._batches(prompts):
            ends = np.array([[len(prompts[index]) - 1] for index in chosen], np.int64)
            for name, array in self._run([prompts[index] for index in chosen], ends).items():
                whole = found.setdefault(name, np.empty((len(prompts), array.shape[-1]), np.float32))
                whole[chosen] = array[:, 0]
        return found

    def read_everywhere(self, prompts: Sequence[Sequence[int]]) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
        """Each prompt's number with what is watched, and ``logits``, at all its positions: [positions, width]."""
        for chosen in self._batches(prompts):
            some = [prompts[index] for index in chosen]
            longest = max(map(len, some))
            seen = self._run(some, np.tile(np.arange(longest), (len(some), 1)))
            for row, index in enumerate(chosen):
                yield index, {name: array[row, : len(prompts[index])] for name, array in seen.items()}

    def _batches(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Numbers of prompts that run together: such of like lengths."""
        for ids in prompts:
            self._changed.check(ids)
        order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
        while order:
            room = max(1, min(TOKENS // len(prompts[order[0]]), PROMPTS))
            yield order[:room]
            order = order[room:]

    def _run(self, prompts: Sequence[Sequence[int]], wanted: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """What is watched at ``wanted`` [b, n]: [b, n, width]; what stands after a prompt's end is not looked at."""
        network, longest = self._changed.network, max(map(len, prompts))
        ids = np.zeros((len(prompts), longest), np.int64)
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = prompt
        empty = np.empty((len(prompts), network.kv_heads, 0, graph.cache_width(network.head_dim)), np.float32)
        nothing = ort.OrtValue.ortvalue_from_numpy(empty)
        caches = (f"past.layers.{layer}.{part}" for layer in range(network.layers) for part in ("key", "value"))
        feeds: dict[str, NDArray[Any]] = {
            "ids": ids,
            "wanted": wanted,
            "last": np.array([len(prompt) - 1 for prompt in prompts], np.int32),
            "total": np.array(longest, np.int32),
            **self._changed.rotary_tables(longest),
        }
        given = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
        outputs = [*(["logits"] if self._logits else []), *(name + WATCHED for name in self.watched)]
        given |= {**self._changed.weights, **dict.fromkeys(caches, nothing)}
        results = self._changed.session.run_with_ort_values(outputs, given, _no_further())
        return {name.removesuffix(WATCHED): value.numpy() for name, value in zip(outputs, results, strict=True)}

    def _alter(self, model: ModelProto) -> None:
        """Make the wanted positions of what is watched outputs."""
        from onnx import TensorProto, helper, numpy_helper

        made = model.graph
        made.initializer.append(numpy_helper.from_array(np.array([2]), "watched.axis"))
        made.node.append(helper.make_node("Unsqueeze", ["wanted", "watched.axis"], ["watched.places"]))
        for name in self.watched:
            made.node.append(helper.make_node("GatherND", [name, "watched.places"], [name + WATCHED], batch_dims=1))
            made.output.append(helper.make_tensor_value_info(name + WATCHED, TensorProto.FLOAT, ["b", "n", None]))


def _no_further() -> ort.RunOptions:
    """A run that leaves out what no output depends on: the layers after those watched, and the head."""
    options = ort.RunOptions()
    options.only_execute_path_to_fetches = True
    return options
