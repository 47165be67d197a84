"""What edits of a layer change: networks read from that layer on, what is the same as before not read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.forest import Forest
from larqldb.edit.measuring import KEPT_BYTES, UNRELATED, Reading, target_ids
from larqldb.model.observe import log_probabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from larqldb.edit.asking import Asking
    from larqldb.edit.context import Model
    from larqldb.model.edited import Edits
    from larqldb.model.tokenizer import Tokenizer

    Floats = NDArray[np.float32]
    Ids = tuple[int, ...]

MOST_KNOWN = 256  # texts


class Effects:
    """Reads what a network answers.

    Networks are read from a layer on, that where an edit is made: what it sees of a text is known from before, and
    where it leaves the same behind as it did last time, so is what comes out.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._network: tuple[int, int, int] | None = None
        self._known: dict[Ids, tuple[Floats, Floats]] = {}
        self._together: dict[tuple[Ids, ...], Floats] = {}

    def read(self, model: Model, how: Asking, target: str, *, others: bool, layer: int | None = None) -> Reading:
        """What a network says; ``others``: to neighbours and unrelated text, too. Raises BadPrompt."""
        layer = model.layer if layer is None else layer
        encode = self._tokenizer.encode
        wanted = target_ids(self._tokenizer, target)
        prompts = [encode(text) for text in (how.prompts if others else how.prompts[:1])]
        texts = [[*ids, *wanted] for ids in prompts]
        places = [range(len(ids) - 1, len(ids) - 1 + len(wanted)) for ids in prompts]
        logs = np.concatenate(self._logs(model, layer, texts, places)).reshape(len(prompts), len(wanted), -1)
        target_logs = logs[:, np.arange(len(wanted)), wanted]
        first = logs[0].argmax(axis=-1) == np.array(wanted)
        if not others:
            return Reading(np.exp(target_logs), first)
        asked = [encode(text) for text in how.neighbours]
        neighbours = self._again(model, layer, asked, [range(len(ids) - 1, len(ids)) for ids in asked])
        return Reading(np.exp(target_logs), first, neighbours if asked else None, self._unrelated(model, layer))

    def unrelated(self, model: Model, layer: int) -> Reading:
        """What a network says of unrelated text alone."""
        return Reading(np.empty((1, 0)), np.empty(0, np.bool_), None, self._unrelated(model, layer))

    def _unrelated(self, model: Model, layer: int) -> Floats:
        """Log-probabilities at places of the unrelated texts: float32 [s, vocab]."""
        texts = [self._tokenizer.encode(text)[: model.network.context] for text in UNRELATED]
        room = max(1, KEPT_BYTES // (4 * model.network.vocab * len(UNRELATED)))
        return self._again(model, layer, texts, [range(1, len(ids), max(1, -(-len(ids) // room))) for ids in texts])

    def _again(self, model: Model, layer: int, texts: Sequence[Sequence[int]], places: Sequence[range]) -> Floats:
        """Log-probabilities as ``_logs`` gives them, known for texts that the layer leaves as it did: [n, vocab]."""
        of_network = id(model.base), hash(repr([vector.tobytes() for vector in _vectors(model.later(layer))])), layer
        if self._network != of_network or len(self._known) > MOST_KNOWN:
            self._network = of_network
            self._known.clear()
            self._together.clear()
        asked, known = tuple(tuple(ids) for ids in texts), self._known
        seen = model.seen(layer, asked)
        changed = [
            number
            for number, (ids, one) in enumerate(zip(asked, seen, strict=True))
            if ids not in known or not np.array_equal(known[ids][0], one.residual)
        ]
        if changed or asked not in self._together:
            found = self._logs(model, layer, [asked[i] for i in changed], [places[i] for i in changed])
            known.update((asked[i], (seen[i].residual, logs)) for i, logs in zip(changed, found, strict=True))
            nothing = np.empty((0, model.network.vocab), np.float32)
            self._together[asked] = np.concatenate([nothing, *(known[ids][1] for ids in asked)])
        return self._together[asked]

    def _logs(self, model: Model, layer: int, texts: Sequence[Sequence[int]], places: Sequence[range]) -> list[Floats]:
        """Log-probabilities of what follows some places of texts: float32 [places, vocab] for each."""
        if not texts:
            return []
        found: list[Floats] = []
        seen = model.seen(layer, texts)
        forest = Forest(texts)
        residuals = np.empty((len(forest), model.network.hidden), np.float32)
        for path, one in zip(forest.paths, seen, strict=True):
            residuals[path] = one.residual
        end, _ = model.tail(layer).begin().more(forest.parents, residuals)
        for path, wanted in zip(forest.paths, places, strict=True):
            found.append(log_probabilities(model.base.head(end[path[list(wanted)]])).astype(np.float32))
        return found


def _vectors(edits: Edits) -> Iterator[Floats]:
    """All that edits consist of."""
    for feature in edits.added:
        yield from (feature.gate, feature.down)
    for row in edits.rows:
        yield from (row.key, row.value)
    yield np.array(edits.removed, np.float32)
