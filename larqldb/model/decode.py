"""Reading a text token by token: the keys and values of what was read stay in ONNX Runtime's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.errors import BadPrompt
from larqldb.model import graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from larqldb.model.runner import Runner

ROOM = 256  # positions a cache has at first, beyond the prompt; it doubles when they are used up
CHUNK = 512  # positions per run while a prompt is read: bounds activations


class Decoder:
    """One text as a network reads it; make one with ``Runner.decoder``.

    GroupQueryAttention writes new keys and values into the buffers that hold the old ones (input and output are bound
    to the same memory), so a token costs no copy of the cache. Not for several threads at once; several decoders of
    one runner are.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        network = runner.network
        self._binding = runner.session.io_binding()
        for name, value in runner.weights.items():
            self._binding.bind_ortvalue_input(name, value)
        self._logits: NDArray[np.float32] = np.empty((1, 1, network.vocab), np.float32)
        self._binding.bind_ortvalue_output("logits", ort.OrtValue.ortvalue_from_numpy(self._logits))
        self._bind("wanted", np.array([[-1]], np.int64))
        self._caches = [f"layers.{layer}.{part}" for layer in range(network.layers) for part in ("key", "value")]
        self._buffers: dict[str, NDArray[np.float32]] = {}
        self.capacity = 0
        self.ids: list[int] = []

    @property
    def position(self) -> int:
        """How many tokens have been read."""
        return len(self.ids)

    @property
    def is_full(self) -> bool:
        """Whether the model's context has no room for another token."""
        return self.position >= self._runner.network.context

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Read more tokens; logits of the one after them: float32 [vocab], overwritten by the next call.

        Raises BadPrompt, having read nothing, for no tokens, for ids outside the vocabulary, and when the context has
        no room for them.
        """
        ids = list(ids)
        self._runner.check(ids, self.position)
        self._make_room(self.position + len(ids))
        for start in range(0, len(ids), CHUNK):
            self._step(ids[start : start + CHUNK])
        logits: NDArray[np.float32] = self._logits[0, 0]
        return logits

    def rewind(self, position: int) -> None:
        """Forget the tokens from ``position`` on: the next ones read follow those before it."""
        if not 0 <= position <= self.position:
            raise BadPrompt(problem=f"{self.position} tokens were read, not {position}", remedy="Rewind to one of them")
        del self.ids[position:]

    def _step(self, ids: list[int]) -> None:
        total = self.position + len(ids)
        self._bind("ids", np.array([ids], np.int64))
        self._bind("last", np.array([total - 1], np.int32))
        self._bind("total", np.array(total, np.int32))
        self._runner.session.run_with_iobinding(self._binding)
        self.ids += ids

    def _make_room(self, positions: int) -> None:
        """Buffers for at least so many positions, what is in them kept."""
        if positions <= self.capacity:
            return
        network = self._runner.network
        capacity = min(max(positions + ROOM, 2 * self.capacity), network.context)
        shape = (1, network.kv_heads, capacity, graph.cache_width(network.head_dim))
        for cache in self._caches:
            buffer = np.zeros(shape, np.float32)
            if self.position:
                buffer[:, :, : self.position] = self._buffers[cache][:, :, : self.position]
            self._buffers[cache] = buffer
            value = ort.OrtValue.ortvalue_from_numpy(buffer)  # the same memory, not a copy
            self._binding.bind_ortvalue_input(f"past.{cache}", value)
            self._binding.bind_ortvalue_output(f"present.{cache}", value)
        for name, table in self._runner.rotary_tables(capacity).items():
            self._bind(name, table)
        self.capacity = capacity

    def _bind(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
