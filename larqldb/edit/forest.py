"""Many texts as one: what several begin with is there once, and so is read once.

The tokens of all texts are the nodes of a forest. It is read as one long sequence in which a token sees those it
follows in its own texts, and no others (``larqldb.knowledge.together.by_places``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort

from larqldb.knowledge.together import HIDDEN, sight_name
from larqldb.model import graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.network import Network

    Numbers = NDArray[np.int64]

ROOT = -1
NODES = 512  # that run together: attention costs as the square of their number


class Forest:
    """Texts as they share their beginnings; ``paths`` are the nodes of each text, in order."""

    def __init__(self, texts: Iterable[Sequence[int]]) -> None:
        known: dict[tuple[int, int], int] = {}
        ids: list[int] = []
        parents: list[int] = []
        self.paths: list[Numbers] = []
        for text in texts:
            path, node = [], ROOT
            for token in text:
                key = node, token
                node = known.setdefault(key, len(ids))
                if node == len(ids):
                    ids.append(token)
                    parents.append(key[0])
                path.append(node)
            self.paths.append(np.array(path, np.int64))
        self.ids: Numbers = np.array(ids, np.int64)
        self.parents: Numbers = np.array(parents, np.int64)

    def __len__(self) -> int:
        return len(self.ids)


class Sight:
    """Which nodes see which, as nodes are added; a node sees itself and all that it follows."""

    def __init__(self) -> None:
        self.places: Numbers = np.empty(0, np.int64)
        self._seen: NDArray[np.bool_] = np.empty((0, 0), np.bool_)

    def __len__(self) -> int:
        return len(self.places)

    def grown(self, parents: Sequence[int] | Numbers) -> Sight:
        """The same with more nodes, each behind a parent among the earlier ones, or ``ROOT``."""
        before, more = len(self), len(parents)
        grown = Sight()
        grown.places = np.concatenate([self.places, np.zeros(more, np.int64)])
        grown._seen = np.zeros((before + more, before + more), np.bool_)
        grown._seen[:before, :before] = self._seen
        for node, parent in enumerate(parents, start=before):
            if parent != ROOT:
                grown._seen[node] = grown._seen[parent]
                grown.places[node] = grown.places[parent] + 1
            grown._seen[node, node] = True
        return grown

    def biases(self, network: Network, latest: int) -> dict[str, NDArray[np.float32]]:
        """What attention adds for the ``latest`` nodes, by input: 0 or ``HIDDEN``, float32 [1, 1, latest, all].

        All are the nodes behind ``nobody``.
        """
        distance = self.places[-latest:, None] - self.places
        found = {}
        for window in dict.fromkeys(attention.window for attention in network.attention):
            bias = np.full((1, 1, latest, 1 + len(self)), HIDDEN)
            bias[0, 0, :, 1:][self._seen[-latest:] & (distance < (window or len(self) + 1))] = 0
            found[sight_name(window)] = bias
        return found


def nobody(network: Network) -> ort.OrtValue:
    """Keys, or values, of one token that no node sees, to begin a cache with.

    Without a cache ONNX Runtime (1.32) counts places itself, as if all tokens were of one text.
    """
    shape = (1, network.kv_heads, 1, graph.cache_width(network.head_dim))
    return ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))


def together(texts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Numbers of texts that are read in one run: such that begin alike, as many as there is room for."""
    chosen: list[int] = []
    nodes, before = 0, [ROOT]
    for number in sorted(range(len(texts)), key=lambda number: tuple(texts[number])):
        text = list(texts[number])
        shared = next((i for i, (one, other) in enumerate(zip_longest(text, before)) if one != other), len(text))
        if chosen and nodes + len(text) - shared > NODES:
            yield chosen
            chosen, nodes, shared = [], 0, 0
        chosen.append(number)
        nodes += len(text) - shared
        before = text
    if chosen:
        yield chosen
