"""Many texts read in one run: packed one behind the other, each seeing what they all begin with, and itself.

What the texts share is read once and its keys and values kept. The rest of all texts is one long sequence with no
padding; positions say where in its own text a token stands, and an additive attention bias hides the other texts.
ONNX Runtime's GroupQueryAttention refuses a batch of several sequences that go on after a cache, and takes this.
Windows are drawn into the bias too: in the sequence, distances between tokens are not those of their texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.model import graph

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.network import Network
    from larqldb.model.runner import Runner

SHARED = -1  # the owner of tokens that every text begins with
NOBODY = -2  # … and of one that none sees: over an empty cache GroupQueryAttention counts places itself
HIDDEN = np.float32(-1e9)  # far below any score, and finite: a softmax over it is exactly zero
WATCHED = ".watched"


class Together:
    """A network that reads many texts in one run; make one for each runner and keep it.

    ``watched`` are results of ``graph.observable`` that come back with the logits, at the positions asked about.
    """

    def __init__(self, runner: Runner, watched: Sequence[str] = ()) -> None:
        self.network = runner.network
        self.watched = tuple(watched)
        self.windows = tuple(dict.fromkeys(attention.window for attention in self.network.attention))
        self._runner = runner.changed(self._alter, {})
        self._caches = [f"layers.{layer}.{part}" for layer in range(self.network.layers) for part in ("key", "value")]

    def begin(self, ids: Sequence[int]) -> Texts:
        """Texts that all begin with ``ids``, which may be none; Raises BadPrompt."""
        texts = Texts(self, self._nothing())
        if ids:
            self._runner.check(ids)
            texts.read_shared(ids)
        return texts

    def run(
        self, texts: Texts, ids: NDArray[np.int64], owners: NDArray[np.int64], places: NDArray[np.int64], wanted: Any
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Read tokens [s] into ``texts``: logits [n, vocab] and watched results [n, width] at ``wanted`` [n]."""
        texts.owners = np.concatenate([texts.owners, owners])
        texts.places = np.concatenate([texts.places, places])
        total = len(texts.owners)
        feeds: dict[str, NDArray[Any]] = {
            "ids": ids[None],
            "wanted": np.asarray(wanted, np.int64)[None],
            "last": np.array([total - 1], np.int32),
            "total": np.array(total, np.int32),
            "places": places[None],
            **self._runner.rotary_tables(total),
        }
        feeds |= {sight_name(window): texts.sight(owners, places, window) for window in self.windows}
        given = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
        outputs = ["logits", *(name + WATCHED for name in self.watched)]
        asked = outputs + [f"present.{cache}" for cache in self._caches]
        results = self._runner.session.run_with_ort_values(asked, {**self._runner.weights, **given, **texts.cache})
        texts.cache = {
            f"past.{cache}": value for cache, value in zip(self._caches, results[len(outputs) :], strict=True)
        }
        arrays = [result.numpy()[0] for result in results[: len(outputs)]]
        return arrays[0], dict(zip(self.watched, arrays[1:], strict=True))

    def _nothing(self) -> dict[str, ort.OrtValue]:
        """A cache of one token that nobody sees."""
        shape = (1, self.network.kv_heads, 1, graph.cache_width(self.network.head_dim))
        empty = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
        return {f"past.{cache}": empty for cache in self._caches}

    def _alter(self, model: ModelProto) -> None:
        """Let attention go by places, and make watched results outputs."""
        from onnx import TensorProto, helper, numpy_helper

        by_places(model, self.network)
        made = model.graph
        made.initializer.append(numpy_helper.from_array(np.array([2]), "watched.axis"))
        made.node.append(helper.make_node("Unsqueeze", ["wanted", "watched.axis"], ["watched.places"]))
        for name in self.watched:
            made.node.append(helper.make_node("GatherND", [name, "watched.places"], [name + WATCHED], batch_dims=1))
            made.output.append(helper.make_tensor_value_info(name + WATCHED, TensorProto.FLOAT, ["b", "n", None]))


def by_places(model: ModelProto, network: Network) -> None:
    """Let a graph's attention go by inputs: ``places`` [b, s] of tokens in their texts, and what each token sees.

    That is an additive bias [1, 1, s, all] for each window of the network, named by ``sight_name``.
    """
    from onnx import TensorProto, helper

    made = model.graph
    made.input.append(helper.make_tensor_value_info("places", TensorProto.INT64, ["b", "s"]))
    for window in dict.fromkeys(attention.window for attention in network.attention):
        made.input.append(helper.make_tensor_value_info(sight_name(window), TensorProto.FLOAT, [1, 1, "s", "all"]))
    nodes = [node for node in made.node if node.op_type == "GroupQueryAttention"]
    for node, attention in zip(nodes, network.attention, strict=True):
        node.input.extend(["places", sight_name(attention.window)])
        for attribute in node.attribute:
            if attribute.name == "local_window_size":
                attribute.i = -1
    for node in made.node:
        if node.op_type == "Gather" and node.input[0] == "positions":  # learned ones
            node.input[1] = "places"


class Texts:
    """Texts that begin alike, as far as they have been read. Not for several threads at once."""

    def __init__(self, together: Together, cache: dict[str, ort.OrtValue]) -> None:
        self._together = together
        self.cache = cache
        self.owners: NDArray[np.int64] = np.array([NOBODY])  # [tokens in the cache] whose each is
        self.places: NDArray[np.int64] = np.zeros(1, np.int64)  # [tokens in the cache] where in its text
        self._lengths: dict[int, int] = {}
        self._parents: dict[int, tuple[int, int]] = {}  # by text: the one it goes on from, and how much of that
        self._shared = 0

    def read_shared(self, ids: Sequence[int]) -> None:
        """Read what every text begins with."""
        count = len(ids)
        owners, places = np.full(count, SHARED), np.arange(count)
        self._together.run(self, np.array(ids, np.int64), owners, places, [count - 1])
        self._shared = count

    @property
    def nbytes(self) -> int:
        """The memory of its keys and values."""
        return sum(int(np.prod(value.shape())) * 4 for value in self.cache.values())

    def branch(self) -> Texts:
        """The same beginning, for other texts."""
        branch = Texts(self._together, self.cache)
        branch.owners, branch.places, branch._shared = self.owners, self.places, self._shared
        return branch

    def fork(self, number: int, parent: int) -> None:
        """Have a new text begin with all that another has read so far; that one is no fork itself."""
        length = self._lengths[parent]
        self._lengths[number], self._parents[number] = length, (parent, length)

    def read(self, more: dict[int, Sequence[int]]) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Go on with some texts, by number, each by at least one token.

        Logits of the token after each of them, float32 [n, vocab], and watched results at its last token [n, width],
        in the order of ``more``. Texts left out stay as they are. The tokens must be the network's.
        """
        lengths = [len(ids) for ids in more.values()]
        starts = [self._lengths.get(number, self._shared) for number in more]
        owners = np.repeat(np.fromiter(more, np.int64), lengths)
        places = np.concatenate(
            [np.arange(start, start + length) for start, length in zip(starts, lengths, strict=True)]
        )
        ids = np.concatenate([np.asarray(part, np.int64) for part in more.values()])
        for number, start, length in zip(more, starts, lengths, strict=True):
            self._lengths[number] = start + length
        return self._together.run(self, ids, owners, places, np.cumsum(lengths) - 1)

    def sight(self, owners: NDArray[np.int64], places: NDArray[np.int64], window: int | None) -> NDArray[np.float32]:
        """What each new token sees of all, itself included: 0 or ``HIDDEN``, float32 [1, 1, s, all]."""
        seen = (self.owners == SHARED) | (self.owners == owners[:, None])
        parents, lengths = np.array([self._parents.get(owner, (owner, 0)) for owner in owners.tolist()]).T
        seen |= (self.owners == parents[:, None]) & (self.places < lengths[:, None])
        distance = places[:, None] - self.places
        seen &= (distance >= 0) & (distance < (window or len(self.places) + int(places.max()) + 1))
        return np.where(seen, np.float32(0), HIDDEN)[None, None]


def sight_name(window: int | None) -> str:
    """The input that says what tokens see in layers with such a window."""
    return f"sight.{window or 'all'}"
