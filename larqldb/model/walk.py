"""The walk: a network run with only the features that contribute most, their down vectors pulled as they are needed.

A layer's features add y = Σ_f act(g_f·x)(u_f·x) d_f, without u_f where the network has no ups. The contribution of
feature f is |act(g_f·x)(u_f·x)|·‖d_f‖; a ``Choice`` says from it which features to pull, for each layer and position.
Attention, gates, ups and the head are held in 8-bit blocks, the pulled down vectors are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import onnxruntime as ort
from onnx import TensorProto

from larqldb.model.dtypes import as_float32
from larqldb.model.edited import Overlay
from larqldb.model.graph import cache_width
from larqldb.model.memory import give_back
from larqldb.model.prompts import check
from larqldb.model.rotary import tables
from larqldb.model.walk_graph import Graph, Weights, head_graph, layer_graph, pull_graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from larqldb.model.network import Network

ROOM = 256  # positions a cache has at first, beyond the prompt; it doubles when they are used up
CHUNK = 128  # positions read at a time: bounds what is chosen from
QUIET = 4  # ONNX Runtime's severity "fatal": its errors reach the user as exceptions, not as lines on stderr
KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}
HEAD_BYTES = 1 << 23  # of the head in one graph, stored as float16: a graph's weights are there thrice while it is made

Embed = Callable[[list[int]], "NDArray[np.float32]"]
"""Token ids → their embeddings, unscaled, float32 [n, hidden]."""


class Rows(Protocol):
    """Where down vectors are pulled from; ``larqldb.storage.rows.RowCache`` does it by SQL."""

    rows: NDArray[Any]
    """[capacity, hidden]: float32, float16, or the bits of bfloat16 as uint16."""

    def places(self, layer: int, features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in ``rows`` the vectors of distinct features are, until the next call."""


class Choosing(Protocol):
    """What decides which features are pulled; ``Choice`` is the one that users see."""

    def keep(self, layer: int, contributions: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each feature of a layer is pulled, [s, ffn], from its contributions [s, ffn] at s positions."""


@dataclass(frozen=True)
class Choice:
    """One of three rules, with a number for each layer.

    ``top``: so many features, those that contribute most. ``mass``: the fewest that hold this share, in (0, 1], of all
    contributions. ``least``: those that contribute at least so much, or with ``relative`` this share of the root of
    the sum of all squared contributions, as fits where the network norms what a layer adds.
    """

    rule: str
    numbers: tuple[float, ...]
    relative: bool = False

    def keep(self, layer: int, contributions: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether each feature is pulled, [s, ffn]."""
        number, count = self.numbers[layer], contributions.shape[-1]
        if self.rule == "least":
            return (lengths(contributions) if self.relative else contributions) >= np.float32(number)
        if self.rule == "top":
            at = count - min(int(number), count)
            return contributions >= np.partition(contributions, at, axis=-1)[:, at, None]
        if number >= 1:
            return np.ones(contributions.shape, np.bool_)
        ascending = np.sort(contributions, axis=-1)
        below = np.cumsum(ascending, axis=-1, dtype=np.float32)  # what is left out with each, from the smallest up
        out = np.sum(below <= np.float32(1 - number) * below[:, -1:], axis=-1, keepdims=True)
        return contributions >= np.take_along_axis(ascending, np.minimum(out, count - 1), axis=-1)


def lengths(contributions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Contributions [s, ffn] as shares of the root of the sum of their squares, at each position."""
    squares = np.linalg.norm(contributions, axis=-1, keepdims=True)
    return np.asarray(contributions / np.maximum(squares, np.finfo(np.float32).tiny), np.float32)


@dataclass(frozen=True)
class Look:
    """A layer at the last position: ``residual`` [hidden] as it entered the FFN's norm, ``activations`` [ffn]."""

    residual: NDArray[np.float32]
    activations: NDArray[np.float32]


class WalkModel:
    """The parts of a network that stay in memory: attention, gates, ups, the head, and learned positions.

    ``weights`` is asked for them once, a layer at a time, and for the head's rows by ``head_rows``: pieces of the
    matrix [vocab, hidden] in order, each of any length. ``down_norms`` float32 [layers, ffn]. May be shared by threads.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        head_rows: Iterable[NDArray[Any]],
        down_norms: NDArray[np.float32],
    ) -> None:
        self.network = network
        self.down_norms = down_norms
        self.positions = as_float32(weights("positions", None)) if network.learned_positions else None
        self.layers = [_loaded(layer_graph(network, weights, layer)) for layer in range(network.layers)]
        self.head = [
            _loaded(head_graph(network, weights, rows))
            for rows in _pieces(head_rows, HEAD_BYTES // (2 * network.hidden))
        ]


class Walker:
    """One text as the walk reads it, with the edits in ``overlay``, which are never left out.

    ``pulled`` counts the rows that went into sums, of ``possible`` ones, since the text's start. Not for several
    threads at once.
    """

    def __init__(
        self, model: WalkModel, embed: Embed, rows: Rows, choice: Choosing, overlay: Overlay | None = None
    ) -> None:
        self.model, self.choice = model, choice
        self._overlay = overlay or Overlay(model.network, {}, lambda residual, _: residual)
        self._embed, self._rows = embed, rows
        network = model.network
        kind = KINDS.get(rows.rows.dtype, TensorProto.BFLOAT16)
        self._pull = _session(pull_graph(network, kind))
        self._row_values = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(rows.rows, kind)
        self._names = [[f"layers.{layer}.{part}" for part in ("key", "value")] for layer in range(network.layers)]
        self._caches: dict[str, NDArray[np.float32]] = {}
        self._bindings: dict[int, _Bindings] = {}
        self.capacity = 0
        self.restart()

    def restart(self) -> None:
        """Forget the text."""
        self.position = 0
        self.pulled = self.possible = 0

    @property
    def is_full(self) -> bool:
        """Whether the model's context has no room for another token."""
        return self.position >= self.model.network.context

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read more tokens; logits of the one after them: float32 [vocab]. Raises BadPrompt, or as ``Rows`` does."""
        logits: NDArray[np.float32] = self._logits(self._read(ids, looks=None)[:, -1:])[0]
        return logits

    def all_logits(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read more tokens; logits of the token after each: float32 [positions, vocab]."""
        return self._logits(self._read(ids, looks=None))

    def look(self, ids: Sequence[int]) -> list[Look]:
        """Read more tokens; what each layer did at the last."""
        looks: list[Look] = []
        self._read(ids, looks=looks)
        return looks[-self.model.network.layers :]

    def _read(self, ids: Sequence[int], looks: list[Look] | None) -> NDArray[np.float32]:
        """The last layer's residual and what its features add, at each position: [2, s, hidden]."""
        check(self.model.network, ids, self.position)
        self._make_room(self.position + len(ids))
        ends = [self._step(ids[start : start + CHUNK], looks) for start in range(0, len(ids), CHUNK)]
        return ends[0] if len(ends) == 1 else np.concatenate(ends, axis=1)

    def _step(self, ids: Sequence[int], looks: list[Look] | None) -> NDArray[np.float32]:
        network, count = self.model.network, len(ids)
        if count not in self._bindings:
            self._bindings = {1: self._bindings[1]} if 1 in self._bindings else {}  # those of one odd length at most
            self._bindings[count] = _Bindings(self.model, count, self._caches, self.capacity)
        bound = self._bindings[count]
        x, y = bound.x[0], bound.y[0]  # [s, hidden]
        x[:] = self._embed(list(ids)) * np.float32(network.embed_scale)
        if self.model.positions is not None:
            x += self.model.positions[self.position : self.position + count]
        bound.total[...] = self.position + count
        bound.last[0] = self.position + count - 1
        for layer, binding in enumerate(bound.layers):
            self.model.layers[layer].run_with_iobinding(binding)
            x[:] = bound.residual[0]
            activations = bound.activations[0]  # [s, ffn]
            self._overlay.silence(layer, activations)
            if looks is not None:
                looks.append(Look(x[-1].copy(), activations[-1].copy()))
            self._features(layer, activations, y)
            self.pulled += self._overlay.add(layer, x, y)
        self.position += count
        return np.stack([x, y])

    def _features(self, layer: int, activations: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """Into ``y`` [s, hidden] what the chosen features add."""
        contributions = np.abs(activations) * self.model.down_norms[layer]
        keep = self.choice.keep(layer, contributions)
        features = np.flatnonzero(keep[0] if len(keep) == 1 else keep.any(axis=0))
        amounts = activations[:, features]
        if len(keep) > 1:
            amounts *= keep[:, features]
            self.pulled += int(np.count_nonzero(keep))
        else:
            self.pulled += len(features)
        self.possible += keep.size
        capacity = len(self._rows.rows)
        if len(features) <= capacity:
            y[:] = self._sum(layer, features, amounts) if len(features) else 0
            return
        y[:] = 0
        for start in range(0, len(features), capacity):
            part = slice(start, start + capacity)
            y += self._sum(layer, features[part], amounts[:, part])

    def _sum(self, layer: int, features: NDArray[np.int64], amounts: NDArray[np.float32]) -> NDArray[np.float32]:
        feeds = {
            "rows": self._row_values,
            "places": ort.OrtValue.ortvalue_from_numpy(self._rows.places(layer, features)),
            "amounts": ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(amounts)),
        }
        y: NDArray[np.float32] = self._pull.run_with_ort_values(["y"], feeds)[0].numpy()[0]
        return y

    def _logits(self, ends: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [s, vocab] from the last layer's residual and what its features add, [2, s, hidden]."""
        feeds = {name: ort.OrtValue.ortvalue_from_numpy(end[None]) for name, end in zip("xy", ends, strict=True)}
        parts = [part.run_with_ort_values(["logits"], feeds)[0].numpy()[0] for part in self.model.head]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _make_room(self, positions: int) -> None:
        """Caches for at least so many positions, what is in them kept."""
        if positions <= self.capacity:
            return
        network = self.model.network
        self.capacity = min(max(positions + ROOM, 2 * self.capacity), network.context)
        shape = (1, network.kv_heads, self.capacity, cache_width(network.head_dim))
        for name in (name for names in self._names for name in names):
            cache = np.zeros(shape, np.float32)
            if self.position:
                cache[:, :, : self.position] = self._caches[name][:, :, : self.position]
            self._caches[name] = cache
        self._bindings = {}


class _Bindings:
    """Where the layers' graphs read and write for a number of tokens at a time: the same memory for all of them."""

    def __init__(self, model: WalkModel, count: int, caches: dict[str, NDArray[np.float32]], capacity: int) -> None:
        network = model.network
        shape = (1, count, network.hidden)
        self.x, self.y, self.residual = (np.zeros(shape, np.float32) for _ in range(3))
        self.activations = np.empty((1, count, network.ffn), np.float32)
        self.last, self.total = np.zeros(1, np.int32), np.zeros((), np.int32)
        width = cache_width(network.head_dim)
        inputs: dict[str, NDArray[Any]] = {"x": self.x, "y": self.y, "last": self.last, "total": self.total}
        for i, rotary in enumerate(network.rotaries):
            inputs[f"cos.{i}"], inputs[f"sin.{i}"] = tables(rotary, network.head_dim, capacity, width)
        outputs = {"residual": self.residual, "activations": self.activations}
        inputs |= {f"past.{name}": cache for name, cache in caches.items()}
        outputs |= {f"present.{name}": cache for name, cache in caches.items()}
        # A value made from an array is that array's memory, not a copy: what Python writes there, the graphs read.
        given = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        taken = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in outputs.items()}
        self._held = (inputs, outputs, given, taken)
        self.layers = []
        for session in model.layers:
            binding = session.io_binding()
            for node in session.get_inputs():
                binding.bind_ortvalue_input(node.name, given[node.name])
            for node in session.get_outputs():
                binding.bind_ortvalue_output(node.name, taken[node.name])
            self.layers.append(binding)


def _session(graph: Graph) -> ort.InferenceSession:
    """A graph ready to run."""
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    names, arrays = list(graph.constants), graph.constants.values()
    options.add_external_initializers(names, [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays])
    return ort.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _loaded(graph: Graph) -> ort.InferenceSession:
    """A graph ready to run; what making it took is given back."""
    session = _session(graph)
    graph.constants.clear()
    graph.model.Clear()
    give_back()
    return session


def _pieces(parts: Iterable[NDArray[Any]], most: int) -> Iterable[NDArray[Any]]:
    """The rows of all parts in pieces of ``most`` rows, the last one shorter."""
    waiting: list[NDArray[Any]] = []
    for part in parts:
        waiting.append(part)
        while sum(map(len, waiting)) >= most:
            rows = np.concatenate(waiting)
            yield rows[:most]
            waiting = [rows[most:]]
    rows = np.concatenate(waiting)
    if len(rows):
        yield rows
