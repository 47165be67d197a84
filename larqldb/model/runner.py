"""Running a network: weights loaded once, logits for token ids."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.model import graph, loading
from larqldb.model.decode import Decoder
from larqldb.model.prompts import check
from larqldb.model.quantise import PRECISIONS
from larqldb.model.rotary import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.loading import Weights
    from larqldb.model.network import Network

CHUNK = 2048  # positions per run: bounds activations, and attention scores where a softcap rules out flash attention
BATCH = 2048  # tokens of several prompts that run together, padding included
BATCH_PROMPTS = 64  # and how many: bounds their logits
QUIET = 4  # ONNX Runtime's severity "fatal": its errors reach the user as exceptions, not as lines on stderr


class Runner:
    """A network ready to run on the CPU.

    ``weights`` is asked once for each tensor; ``threads`` defaults to the number of cores. Names of intermediate
    results in ``expose`` (see ``graph.observable``) come back from ``observe``. ``precision`` ("float32", "int8",
    "int4") is what matrices are held in, see ``quantise``. Runners may be shared by threads. Raises BadTensor when a
    tensor's shape is not the network's.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        *,
        threads: int | None = None,
        expose: Iterable[str] = (),
        precision: str = "float32",
    ) -> None:
        self.network = network
        self._expose = self._asked = tuple(expose)
        self._threads = threads or 0
        self._weights = loading.load(network, weights, PRECISIONS[precision])
        self.weights = self._weights.inputs
        self.session = self._session(graph.build(network, expose=self._expose))
        self._head: ort.InferenceSession | None = None
        self._changes: tuple[Callable[[ModelProto], None], ...] = ()
        self._tables: dict[str, NDArray[np.float32]] = {}

    def logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits of the token after ``ids``: float32 [vocab]. Raises BadPrompt."""
        logits: NDArray[np.float32] = self._run(ids, range(len(ids) - 1, len(ids)), ["logits"])["logits"][0]
        return logits

    def all_logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits of the token after each of ``ids``: float32 [positions, vocab]. Raises BadPrompt."""
        return self._run(ids, range(len(ids)), ["logits"])["logits"]

    def batch(self, prompts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits of the token after each of several prompts: float32 [prompts, vocab]. Raises BadPrompt.

        Prompts of like lengths run together, the shorter ones padded, so weights are read once for all of them.
        """
        for ids in prompts:
            self.check(ids)
        logits = np.empty((len(prompts), self.network.vocab), np.float32)
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        while order:
            longest = len(prompts[order[-1]])
            room = max(1, min(BATCH // longest, BATCH_PROMPTS))
            order, chosen = order[:-room], order[-room:]
            logits[chosen] = self._run_padded([prompts[index] for index in chosen], longest)
        return logits

    def _run_padded(self, prompts: Sequence[Sequence[int]], longest: int) -> NDArray[np.float32]:
        """Logits after each prompt, [prompts, vocab]; what stands after a prompt's end is not looked at."""
        ids, ends = np.zeros((len(prompts), longest), np.int64), [len(prompt) - 1 for prompt in prompts]
        for row, prompt in zip(ids, prompts, strict=True):
            row[: len(prompt)] = prompt
        width = graph.cache_width(self.network.head_dim)
        empty = ort.OrtValue.ortvalue_from_numpy(np.empty((len(prompts), self.network.kv_heads, 0, width), np.float32))
        caches = (f"past.layers.{layer}.{part}" for layer in range(self.network.layers) for part in ("key", "value"))
        feeds: dict[str, NDArray[Any]] = {
            "ids": ids,
            "wanted": np.array(ends, np.int64)[:, None],
            "last": np.array(ends, np.int32),
            "total": np.array(longest, np.int32),
            **self.rotary_tables(longest),
        }
        given = {**self.weights, **_values(feeds), **dict.fromkeys(caches, empty)}
        logits: NDArray[np.float32] = self.session.run_with_ort_values(["logits"], given)[0].numpy()[:, 0]
        return logits

    def observe(self, ids: Sequence[int], wanted: range | None = None) -> dict[str, NDArray[np.float32]]:
        """The exposed results by name, without the batch axis (shapes: ``graph.observable``). Raises BadPrompt.

        ``wanted`` are the positions that go through the head; without it, the last one.
        """
        return self._run(ids, wanted or range(len(ids) - 1, len(ids)), self._expose)

    def head(self, residuals: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the final norm and the head make of residuals [n, hidden]: logits, float32 [n, vocab]."""
        if self._head is None:
            self._head = self._session(graph.build_head(self.network))
        read = {value.name for value in self._head.get_inputs()}
        feeds = {name: value for name, value in self.weights.items() if name in read}
        feeds |= _values({"residual": np.ascontiguousarray(residuals, np.float32)})
        logits: NDArray[np.float32] = self._head.run_with_ort_values(["logits"], feeds)[0].numpy()
        return logits

    def changed(
        self,
        change: Callable[[ModelProto], None],
        inputs: Mapping[str, NDArray[Any]],
        *,
        expose: Iterable[str] = (),
    ) -> Runner:
        """A runner over the same weights whose graph ``change`` has altered in place, after any changes before it.

        ``inputs`` are the arrays for what it added to the graph's inputs. ``observe`` gives the results in ``expose``,
        those that this runner exposes, and any outputs that changes added.
        """
        runner = copy(self)
        runner._asked = (*self._asked, *expose)
        model = graph.build(self.network, expose=runner._asked)
        runner._changes = (*self._changes, change)
        for each in runner._changes:
            each(model)
        kept = ("logits", "present.")
        runner._expose = tuple(output.name for output in model.graph.output if not output.name.startswith(kept))
        runner.weights = {**self.weights, **_values(inputs)}
        runner.session = self._session(model)
        return runner

    def given(self, inputs: Mapping[str, NDArray[Any]]) -> Runner:
        """The same graph with other arrays for some of its inputs."""
        runner = copy(self)
        runner.weights = {**self.weights, **_values(inputs)}
        return runner

    def _run(self, ids: Sequence[int], wanted: range, outputs: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Outputs for all of ``ids``, axis 0 being position; ``wanted`` positions go through the head."""
        network, count = self.network, len(ids)
        self.check(ids)
        empty = np.empty((1, network.kv_heads, 0, graph.cache_width(network.head_dim)), np.float32)
        caches = [f"layers.{layer}.{part}" for layer in range(network.layers) for part in ("key", "value")]
        past = {f"past.{cache}": ort.OrtValue.ortvalue_from_numpy(empty) for cache in caches}
        constant = {**self.weights, **_values(self.rotary_tables(count))}
        collected: list[list[NDArray[np.float32]]] = []
        for start in range(0, count, CHUNK):
            stop = min(start + CHUNK, count)
            feeds: dict[str, NDArray[Any]] = {
                "ids": np.array([ids[start:stop]], np.int64),
                "wanted": np.array([[i - start for i in wanted if start <= i < stop]], np.int64),
                "last": np.array([stop - 1], np.int32),
                "total": np.array(stop, np.int32),
            }
            kept = [f"present.{cache}" for cache in caches] if stop < count else []
            results = self.session.run_with_ort_values([*outputs, *kept], {**_values(feeds), **constant, **past})
            collected.append([result.numpy()[0] for result in results[: len(outputs)]])
            past = dict(zip(past, results[len(outputs) :], strict=False))
        joined = collected[0] if len(collected) == 1 else map(np.concatenate, zip(*collected, strict=True))
        return dict(zip(outputs, joined, strict=True))

    def decoder(self) -> Decoder:
        """A text of its own to read token by token, from the start."""
        return Decoder(self)

    def check(self, ids: Sequence[int], before: int = 0) -> None:
        """Raise BadPrompt unless the network can read ``ids`` after ``before`` other tokens."""
        check(self.network, ids, before)

    def rotary_tables(self, positions: int) -> dict[str, NDArray[np.float32]]:
        """Cosine and sine tables of at least ``positions`` rows, kept between calls and doubled when too short."""
        kept = self._tables  # read once: another thread may replace it, never change it
        if not kept or len(kept["cos.0"]) < positions:
            rows = max(256, 1 << (positions - 1).bit_length())
            width = graph.cache_width(self.network.head_dim)
            pairs = [tables(rotary, self.network.head_dim, rows, width) for rotary in self.network.rotaries]
            kept = {f"{part}.{i}": pair[j] for i, pair in enumerate(pairs) for j, part in enumerate(("cos", "sin"))}
            self._tables = kept
        return kept

    def _session(self, model: ModelProto) -> ort.InferenceSession:
        """A graph ready to run."""
        options = ort.SessionOptions()
        options.log_severity_level = QUIET
        options.intra_op_num_threads = self._threads
        options.add_session_config_entry("session.force_spinning_stop", "1")  # between runs the cores are others'
        self._weights.fit(model, options)
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _values(arrays: Mapping[str, NDArray[Any]]) -> dict[str, ort.OrtValue]:
    """The arrays as ONNX Runtime reads them, in place."""
    return {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
