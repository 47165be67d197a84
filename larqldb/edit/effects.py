"""What edits of a layer change: networks read from that layer on, what is the same as before not read again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from larqldb.edit.forest import Forest, together
from larqldb.edit.measuring import KEPT_BYTES, UNRELATED, Reading, answered, chances, target_ids
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
SAME = 1e-4  # of a residual's length: less moved no probability of SmolLM2 by more than 0.0006 (416 texts)


class Effects:
    """Reads what a network answers.

    Networks are read from a layer on, that where an edit is made: what it sees of a text is known from before, and
    where it leaves the same behind as it did when that was read, so is what comes out. At a text's first token, whose
    residual is fifty times as long as others (SmolLM2), nearly every edit changes the last digits.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._network: tuple[int, int, int] | None = None
        self._known: dict[Ids, tuple[Floats, Floats]] = {}
        self._together: dict[tuple[Ids, ...], Floats] = {}

    def read(
        self, model: Model, asked: Sequence[tuple[Asking, str]], *, others: bool, layer: int | None = None
    ) -> list[Reading]:
        """What a network says of facts, each how it is asked for and its target. Raises BadPrompt.

        ``others``: in all wordings, not the canonical one alone, and to neighbours and unrelated text, too.
        """
        layer = model.layer if layer is None else layer
        encode = self._tokenizer.encode
        texts: list[Ids] = []
        places: list[range] = []
        for how, target in asked:
            wanted = target_ids(self._tokenizer, target)
            prompts = [encode(text) for text in (how.prompts if others else how.prompts[:1])]
            texts += answered(self._tokenizer, prompts, wanted)
            places += [range(len(ids) - 1, len(ids) - 1 + len(wanted)) for ids in prompts]
        found = iter(self._answers(model, layer, texts, places))
        readings = []
        for how, _ in asked:
            each = [next(found) for _ in (how.prompts if others else how.prompts[:1])]
            target_chances, first = np.stack([one for one, _ in each]), each[0][1]
            if not others:
                readings.append(Reading(target_chances, first))
                continue
            known = [encode(text) for text in how.neighbours]
            neighbours = self._again(model, layer, known, [range(len(ids) - 1, len(ids)) for ids in known])
            unrelated = self._unrelated(model, layer)
            readings.append(Reading(target_chances, first, neighbours if known else None, unrelated))
        return readings

    def unrelated(self, model: Model, layer: int) -> Reading:
        """What a network says of unrelated text alone."""
        return Reading(np.empty((1, 0), np.float32), np.empty(0, np.bool_), None, self._unrelated(model, layer))

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
            if ids not in known or _moved(known[ids][0], one.residual)
        ]
        if changed or asked not in self._together:
            found = self._logs(model, layer, [asked[i] for i in changed], [places[i] for i in changed])
            known.update((asked[i], (seen[i].residual, logs)) for i, logs in zip(changed, found, strict=True))
            nothing = np.empty((0, model.network.vocab), np.float32)
            self._together[asked] = np.concatenate([nothing, *(known[ids][1] for ids in asked)])
        return self._together[asked]

    def _answers(
        self, model: Model, layer: int, texts: Sequence[Ids], places: Sequence[range]
    ) -> list[tuple[Floats, NDArray[np.bool_]]]:
        """Of the tokens behind some places of each text: probabilities, and whether they are the likeliest."""
        if not texts:
            return []
        tokens = [ids[place + 1] for ids, some in zip(texts, places, strict=True) for place in some]
        probability, first = chances(model.base.head, np.concatenate(_final(model, layer, texts, places)), tokens)
        cuts = np.cumsum([*map(len, places)])[:-1]
        return list(zip(np.split(probability, cuts), np.split(first, cuts), strict=True))

    def _logs(self, model: Model, layer: int, texts: Sequence[Sequence[int]], places: Sequence[range]) -> list[Floats]:
        """Log-probabilities of what follows some places of texts: float32 [places, vocab] for each."""
        if not texts:
            return []
        logits = model.base.head(np.concatenate(_final(model, layer, texts, places)))
        return np.split(log_probabilities(logits).astype(np.float32), np.cumsum([*map(len, places)])[:-1])


def _final(model: Model, layer: int, texts: Sequence[Sequence[int]], places: Sequence[range]) -> list[Floats]:
    """What the last layer leaves behind at some places of texts: float32 [places, hidden] for each."""
    found: dict[int, Floats] = {}
    seen = model.seen(layer, texts)
    texts = [ids[: some.stop] for ids, some in zip(texts, places, strict=True)]
    for chosen in together(texts):
        forest = Forest([texts[number] for number in chosen])
        residuals = np.empty((len(forest), model.network.hidden), np.float32)
        for number, path in zip(chosen, forest.paths, strict=True):
            residuals[path] = seen[number].residual[: len(path)]
        end, _ = model.tail(layer).begin().more(forest.parents, residuals)
        found.update(
            (number, end[path[list(places[number])]]) for number, path in zip(chosen, forest.paths, strict=True)
        )
    return [found[number] for number in range(len(texts))]


def _moved(before: Floats, after: Floats) -> bool:
    """Whether any of a text's residuals [positions, hidden] is another than it was, by more than ``SAME``."""
    return bool(np.any(np.linalg.norm(after - before, axis=1) > SAME * np.linalg.norm(before, axis=1)))


def _vectors(edits: Edits) -> Iterator[Floats]:
    """All that edits consist of."""
    for feature in edits.added:
        yield from (feature.gate, feature.down)
    for row in edits.rows:
        yield from (row.key, row.value)
    yield np.array(edits.removed, np.float32)
