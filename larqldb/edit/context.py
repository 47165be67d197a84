"""What composing edits needs to know of a model: the network, and things found out once and kept."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from onnxruntime import InferenceSession

from larqldb.edit.reading import Reader
from larqldb.edit.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.model.network import Network
    from larqldb.model.runner import Runner
    from larqldb.model.tokenizer import Tokenizer

LATE = 0.8  # of the layers lie before the one where features are added, unless told
MOST_SEEN = 8192  # prompts whose keys are kept
ROWS = 16384  # of the head are looked at for how its tokens differ


@dataclass(eq=False)
class Model:
    """A network to edit, as it is now.

    ``runner`` computes with the edits made so far, ``base`` without any. ``head`` [vocab, hidden] and ``final_norm``
    [hidden] are float32, the norm as what it multiplies by; so is ``post_norms``, by layer, where the network norms
    what its FFN adds, else it is empty. ``kept`` holds what was found out about the base by name: a dict for the
    process, or rows of the file.
    """

    runner: Runner
    base: Runner
    tokenizer: Tokenizer
    head: NDArray[np.float32]
    final_norm: NDArray[np.float32]
    post_norms: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    kept: MutableMapping[str, bytes] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """The architecture."""
        return self.runner.network

    @property
    def layer(self) -> int:
        """Where features are added unless told: what a prompt asks for is known there, what it answers is not yet."""
        return min(self.network.layers - 1, round(LATE * self.network.layers))

    @cached_property
    def head_moment(self) -> NDArray[np.float32]:
        """How the tokens' directions spread: the second moment of the head's rows, float32 [hidden, hidden]."""
        stored = self.kept.get("head moment")
        if stored is None:
            rows = self.head[:: max(1, len(self.head) // ROWS)].astype(np.float32)
            moment = rows.T @ rows / len(rows)
            stored = self.kept["head moment"] = moment.tobytes()
        return np.frombuffer(stored, np.float32).reshape(self.network.hidden, self.network.hidden)

    def written(self, layer: int) -> str:
        """The result that added features add to, before any norm."""
        return f"layers.{layer}.ffn_unnormed" if self.network.post_norms else f"layers.{layer}.ffn_output"

    def reader(self, layer: int) -> Reader:
        """Reads what an edit of a layer depends on."""
        names = [f"layers.{layer}.{kind}" for kind in ("ffn_input", "ffn_output", "residual")]
        watched = tuple(dict.fromkeys([*names, self.written(layer)]))
        made = _made(self.runner)
        if watched not in made:
            made[watched] = Reader(self.runner, watched, logits=False)
        reader: Reader = made[watched]
        return reader.of(self.runner)

    def tail(self, layer: int) -> Tail:
        """What follows a layer."""
        made = _made(self.runner)
        if layer not in made:
            made[layer] = Tail(self.runner, layer)
        tail: Tail = made[layer]
        return tail.of(self.runner)

    def keys(self, layer: int, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """What a layer's gates see at the end of each text (token ids) in the base: float32 [texts, hidden].

        Kept as long as the process runs, up to a bound.
        """
        name, made = f"layers.{layer}.ffn_input", _made(self.base)
        seen: dict[tuple[int, ...], NDArray[np.float32]] = made.setdefault(("seen", layer), {})
        asked = [tuple(ids) for ids in texts]
        new = [ids for ids in dict.fromkeys(asked) if ids not in seen]
        if len(seen) + len(new) > MOST_SEEN:
            seen.clear()
            new = list(dict.fromkeys(asked))
        if new:
            if (name,) not in made:
                made[name,] = Reader(self.base, [name], logits=False)
            found = made[name,].read(new)[name]
            seen.update(zip(new, found, strict=True))
        return np.stack([seen[ids] for ids in asked])


# by session: a graph with edits in the same layers is the same, whatever the edits
_by_session: WeakKeyDictionary[InferenceSession, dict[Any, Any]] = WeakKeyDictionary()


def _made(runner: Runner) -> dict[Any, Any]:
    """What was made for a runner's graph before."""
    return _by_session.setdefault(runner.session, {})
