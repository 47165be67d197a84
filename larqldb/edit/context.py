"""What composing edits needs to know of a model: what layers see of texts, and things found out once and kept."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from onnxruntime import InferenceSession

from larqldb.edit.reading import Reader, Seen
from larqldb.edit.tail import Tail
from larqldb.model.edited import AddedFeature, Edits, LayerEdits, by_layer, edited
from larqldb.model.norms import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.model.network import Network
    from larqldb.model.runner import Runner
    from larqldb.model.tokenizer import Tokenizer

    Floats = NDArray[np.float32]
    Ids = tuple[int, ...]

LATE = 0.8  # of the layers lie before the one where features are added, unless told
MOST_SEEN = 192 << 20  # bytes of what layers see that are kept
MOST_KEYS = 65536  # ends of texts that are kept
WHITENING = 1e-2  # of the head's mean variance
ROWS = 16384  # of the head are looked at for how its tokens differ
OF_TEXTS = ("seen", "ends")  # kept by these names: whole texts, and what stands at their ends


@dataclass(eq=False)
class Model:
    """A network to edit, as it is now.

    ``runner`` computes with ``edits``, those made so far, ``base`` without any. ``head`` [vocab, hidden] and
    ``final_norm`` [hidden] are float32, the norm as what it multiplies by; so is ``post_norms``, by layer, where the
    network norms what its FFN adds, else it is empty. ``kept`` holds what was found out about the base by name: a dict
    for the process, or rows of the file.
    """

    runner: Runner
    base: Runner
    tokenizer: Tokenizer
    head: Floats
    final_norm: Floats
    post_norms: dict[int, Floats] = field(default_factory=dict)
    kept: MutableMapping[str, bytes] = field(default_factory=dict)
    edits: Edits = field(default_factory=Edits)

    @property
    def network(self) -> Network:
        """The architecture."""
        return self.runner.network

    @property
    def layer(self) -> int:
        """Where features are added unless told: what a prompt asks for is known there, what it answers is not yet."""
        return min(self.network.layers - 1, round(LATE * self.network.layers))

    @cached_property
    def head_moment(self) -> Floats:
        """How the tokens' directions spread: the second moment of the head's rows, float32 [hidden, hidden]."""

        def make() -> bytes:
            rows = self.head[:: max(1, len(self.head) // ROWS)].astype(np.float32)
            return np.asarray(rows.T @ rows / len(rows), np.float32).tobytes()

        return np.frombuffer(self.stored("head moment", make), np.float32).reshape(self.network.hidden, -1)

    def written(self, layer: int) -> str:
        """The result that added features add to, before any norm."""
        return f"layers.{layer}.ffn_unnormed" if self.network.post_norms else f"layers.{layer}.ffn_output"

    def once(self, name: Any, make: Callable[[], Any]) -> Any:
        """What does not depend on edits, made once in a process."""
        return _of_graph(self.base, name, make)

    def stored(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What does not depend on edits, made once and kept by its name."""
        found = self.kept.get(name)
        if found is None:
            found = self.kept[name] = make()
        return found

    def whitening(self, layer: int) -> Floats:
        """Makes of a row of the head what raises its token and as little else as may be: float32 [hidden, hidden]."""
        return np.asarray(self.once(("whitening", layer), lambda: self._whitening(layer)))

    def _whitening(self, layer: int) -> Floats:
        scale = self.final_norm * self.post_norms.get(layer, np.float32(1))
        moment = self.head_moment * scale * scale[:, None]
        ridge = np.float32(WHITENING * np.trace(moment) / len(moment)) * np.eye(len(moment), dtype=np.float32)
        return np.asarray(np.linalg.inv(moment + ridge) * scale, np.float32)

    def seen(self, layer: int, texts: Sequence[Sequence[int]]) -> list[Seen]:
        """What a layer sees of texts (token ids), and leaves behind with the edits made so far. Raises BadPrompt.

        What the base makes of a text is kept as long as the process runs, up to a bound, and features added in the
        layer are put on top, so that going on with more of them reads nothing again. Where edits reach what the layer
        sees, texts are read anew.
        """
        if not self._is_base_before(layer):
            reader: Reader = _of_graph(self.runner, ("reader", layer), lambda: Reader(self.runner, layer))
            return reader.of(self.runner).read(texts)
        asked = [tuple(ids) for ids in texts]
        self.read(layer, asked, ())
        known: dict[Ids, Seen] = self.once(("seen", layer), dict)
        seen, part = [known[ids] for ids in asked], self._layers.get(layer)
        return seen if part is None else [self.added(layer, one, part) for one in seen]

    def reader(self, layer: int) -> Reader:
        """Reads what a layer of the base sees."""
        reader: Reader = self.once(("reader", layer), lambda: Reader(self.base, layer))
        return reader

    def keys(self, layer: int, texts: Sequence[Sequence[int]]) -> Floats:
        """What a layer's gates see at the end of each text (token ids) in the base: float32 [texts, hidden].

        Kept as long as the process runs, up to a bound.
        """
        asked = [tuple(ids) for ids in texts]
        self.read(layer, (), asked)
        known: dict[Ids, Floats] = self.once(("ends", layer), dict)
        return np.stack([known[ids] for ids in asked]) if asked else np.empty((0, self.network.hidden), np.float32)

    def read(self, layer: int, texts: Sequence[Ids], ends: Sequence[Ids]) -> None:
        """Read what ``seen`` and ``keys`` of the base will be asked for, all at once; what is known is not read.

        What was read longest ago is forgotten where it gets too much.
        """
        whole: dict[Ids, Seen] = self.once(("seen", layer), dict)
        last: dict[Ids, Floats] = self.once(("ends", layer), dict)
        if len(last) > MOST_KEYS:
            last.clear()
        new = [ids for ids in dict.fromkeys(texts) if ids not in whole]
        more = [ids for ids in dict.fromkeys(ends) if ids not in last]
        found = dict(zip((*new, *more), self.reader(layer).read([*new, *more]), strict=True))
        last.update((ids, found[ids].inputs[-1].copy()) for ids in more)
        for ids in dict.fromkeys(texts):
            whole[ids] = whole.pop(ids) if ids in whole else found[ids]  # the last in order
        size = sum(one.nbytes for one in whole.values())
        while size > MOST_SEEN and len(whole) > len(texts):
            size -= whole.pop(next(iter(whole))).nbytes

    def added(self, layer: int, seen: Seen, part: LayerEdits) -> Seen:
        """What a layer leaves behind of a text with more features."""
        if part.gate is None or part.down is None:
            return seen
        more = part.activations(self.network, seen.inputs) @ part.down
        written = seen.written + more
        if not self.network.post_norms:
            return Seen(seen.inputs, seen.residual + more, written, written)
        output = unit(self.network, written) * self.post_norms[layer]
        return Seen(seen.inputs, seen.residual + (output - seen.output), output, written)

    def features(self, layer: int, features: Sequence[AddedFeature]) -> LayerEdits:
        """Features of a layer as matrices."""
        return by_layer(self.network, Edits(tuple(features)))[layer] if features else LayerEdits()

    def tail(self, layer: int) -> Tail:
        """Runs the layers after one, with the edits made in them."""
        later = self.later(layer)
        runner = self.runner if later else self.base
        tail: Tail = _of_graph(runner, ("tail", layer), lambda: Tail(runner, layer))
        return tail.of(runner)

    def later(self, layer: int) -> Edits:
        """The edits made after a layer."""
        edits = self.edits
        return Edits(
            tuple(feature for feature in edits.added if feature.layer > layer),
            tuple(place for place in edits.removed if place[0] > layer),
            tuple(row for row in edits.rows if row.layer > layer),
        )

    def with_more(self, features: Sequence[AddedFeature]) -> Model:
        """The model with more features."""
        edits = self.edits.with_added(features)
        runner = edited(self.base, edits)
        return Model(runner, self.base, self.tokenizer, self.head, self.final_norm, self.post_norms, self.kept, edits)

    @cached_property
    def _layers(self) -> dict[int, LayerEdits]:
        return by_layer(self.network, self.edits)

    def _is_base_before(self, layer: int) -> bool:
        """Whether a layer sees what it sees in the base, and has but added features."""
        edits = self.edits
        return (
            all(feature.layer >= layer for feature in edits.added)
            and all(place[0] > layer for place in edits.removed)
            and all(row.layer > layer for row in edits.rows)
        )


# by session: a graph with edits in the same layers is the same, whatever the edits
_by_session: WeakKeyDictionary[InferenceSession, dict[Any, Any]] = WeakKeyDictionary()


def forget_texts(base: Runner) -> None:
    """Forget what a network's layers saw of texts; what was found out about relations and the background stays."""
    for name, known in _made(base).items():
        if name[0] in OF_TEXTS:
            known.clear()


def _made(runner: Runner) -> dict[Any, Any]:
    """What was made for a runner's graph before."""
    return _by_session.setdefault(runner.session, {})


def _of_graph(runner: Runner, name: Any, make: Callable[[], Any]) -> Any:
    """What belongs to a runner's graph, made once."""
    made = _made(runner)
    if name not in made:
        made[name] = make()
    return made[name]
