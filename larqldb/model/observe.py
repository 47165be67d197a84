"""Looking inside a run: intermediate results at chosen positions, attention weights, and the logit lens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from larqldb.model.rotary import tables

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

    from larqldb.model.network import Network
    from larqldb.model.runner import Runner

KEPT = ".wanted"
LOGITS = 1 << 24  # of one piece of the logit lens: 64 MB


class Observer:
    """Runs of a network with some of its intermediate results kept (the names are those of ``graph.observable``).

    The weights are the runner's own; a graph is built for each set of names and kept.
    """

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.network = runner.network
        self._graphs: dict[tuple[tuple[str, ...], tuple[str, ...]], Runner] = {}

    def run(
        self, ids: Sequence[int], positions: range, *, at: Iterable[str] = (), everywhere: Iterable[str] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """Results by name: those in ``at`` for ``positions`` [n, …], those in ``everywhere`` for all of ``ids``.

        Raises BadPrompt for no ids, too many of them, or ids outside the vocabulary.
        """
        chosen, whole = tuple(at), tuple(everywhere)
        if (chosen, whole) not in self._graphs:
            self._graphs[chosen, whole] = self.runner.changed(lambda model: _keep(model, chosen), {}, expose=whole)
        seen = self._graphs[chosen, whole].observe(ids, positions)
        return {name.removesuffix(KEPT): array for name, array in seen.items()}


def _kept(name: str) -> str:
    return f"{name}{KEPT}"


def _keep(model: ModelProto, names: Sequence[str]) -> None:
    """Make the wanted positions of some results outputs, and leave out the logits, which are not looked at here."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([2]), "kept.axis"))
    graph.node.append(helper.make_node("Unsqueeze", ["wanted", "kept.axis"], ["kept.places"]))  # [b, n, 1]
    for name in names:
        graph.node.append(helper.make_node("GatherND", [name, "kept.places"], [_kept(name)], batch_dims=1))
        graph.output.append(helper.make_tensor_value_info(_kept(name), TensorProto.FLOAT, ["b", "n", None]))
    graph.output.remove(next(output for output in graph.output if output.name == "logits"))


@dataclass(frozen=True, slots=True)
class Lens:
    """What residuals would answer if the network ended there: final norm, head and softmax, for n residuals.

    ``top`` int64 [n] is the most probable token and ``top_probability`` float64 [n] its probability; ``rank`` int64
    [n] (from 1, ties by token id) and ``probability`` float64 [n] are those of the token that was asked for; ``kl``
    float64 [n] is KL(reference ‖ lens) in nats, where a reference was given.

    nostalgebraist, interpreting GPT: the logit lens,
    https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens
    """

    top: NDArray[np.int64]
    top_probability: NDArray[np.float64]
    rank: NDArray[np.int64]
    probability: NDArray[np.float64]
    kl: NDArray[np.float64]

    def part(self, which: slice) -> Lens:
        """The columns of some of the residuals."""
        kl, probability = self.kl[which], self.probability[which]
        return Lens(self.top[which], self.top_probability[which], self.rank[which], probability, kl)


def lens(
    runner: Runner,
    residuals: NDArray[np.float32],
    tokens: NDArray[np.int64] | None = None,
    reference: NDArray[np.float64] | None = None,
) -> Lens:
    """Read residuals [n, hidden] by the logit lens; ``tokens`` [n] are asked for, or else the most probable ones.

    ``reference`` [vocab] are log-probabilities to compare with; without it ``kl`` is NaN.
    """
    count, step = len(residuals), max(1, LOGITS // runner.network.vocab)
    parts = []
    for start in range(0, count, step):
        part = slice(start, start + step)
        parts.append(_read(runner.head(residuals[part]), None if tokens is None else tokens[part], reference))
    return Lens(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities of logits [..., vocab], in float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide


def _read(
    logits: NDArray[np.float32], tokens: NDArray[np.int64] | None, reference: NDArray[np.float64] | None
) -> tuple[NDArray[np.generic], ...]:
    """The columns of Lens for logits [n, vocab]."""
    rows = np.arange(len(logits))
    top = logits.argmax(axis=1)
    asked = top if tokens is None else tokens
    own, largest = logits[rows, asked][:, None], logits[rows, top][:, None]
    before = (logits == own) & (np.arange(logits.shape[1]) < asked[:, None])
    rank = 1 + (logits > own).sum(axis=1) + before.sum(axis=1)
    total = np.exp(logits - largest).sum(axis=1, dtype=np.float64)
    probability = np.exp((own - largest)[:, 0].astype(np.float64)) / total
    kl = np.full(len(logits), np.nan)
    if reference is not None:
        kl = np.array([np.exp(reference) @ (reference - log_probabilities(row)) for row in logits])
    return top, 1 / total, rank, probability, kl


def attention_weights(
    network: Network, layer: int, queries: NDArray[np.float32], keys: NDArray[np.float32], positions: range
) -> NDArray[np.float32]:
    """How much each head reads from each position: float32 [heads, n, s], rows summing to 1.

    ``queries`` [n, heads · head_dim] are those of ``positions``, ``keys`` [s, kv_heads · head_dim] all of them, both
    unrotated as ``graph.observable`` has them. Softmax of the scaled, soft-capped products inside the layer's window.
    """
    attention, width = network.attention[layer], network.head_dim
    where = np.array(positions)
    q = queries.reshape(len(queries), network.heads, width)
    k = keys.reshape(len(keys), network.kv_heads, width)
    if attention.rotary is not None:
        turned = attention.rotary.width or width
        cos, sin = tables(attention.rotary, width, len(keys), turned)  # [s, turned / 2]
        q, k = _rotate(q, cos[where], sin[where]), _rotate(k, cos, sin)
    k = np.repeat(k, network.heads // network.kv_heads, axis=1)  # neighbouring heads share keys
    scores = np.matmul(q.transpose(1, 0, 2), k.transpose(1, 2, 0)) * np.float32(network.attention_scale)
    if network.attention_softcap is not None:
        cap = np.float32(network.attention_softcap)
        scores = cap * np.tanh(scores / cap)
    distance = where[:, None] - np.arange(len(keys))  # [n, s]
    hidden = (distance < 0) | (distance >= (attention.window or len(keys)))
    scores[:, hidden] = -np.inf
    scores -= scores.max(axis=2, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=2, keepdims=True)
    return np.asarray(scores, np.float32)


def _rotate(x: NDArray[np.float32], cos: NDArray[np.float32], sin: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn the beginning of each head of x [s, heads, head_dim] by its position's angles, cos and sin [s, n].

    The first 2n numbers are turned: two halves, a pair's two numbers being n apart.
    """
    half = cos.shape[1]
    first, second, rest = np.split(x, [half, 2 * half], axis=2)
    cos, sin = cos[:, None], sin[:, None]
    return np.concatenate((first * cos - second * sin, second * cos + first * sin, rest), axis=2)
