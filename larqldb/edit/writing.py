"""Texts that a model makes up, several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from larqldb.model import graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.runner import Runner

MOST = 512  # tokens are sampled from, the likeliest
MASS = 0.95  # of their probability, too


def write(runner: Runner, beginnings: Sequence[Sequence[int]], tokens: int, seed: int) -> list[list[int]]:
    """Beginnings, each gone on with by so many tokens, sampled from the likeliest with a fixed seed."""
    generator = np.random.default_rng(seed)
    made = [list(beginning) for beginning in beginnings]
    network, shortest = runner.network, min(map(len, made))
    capacity = max(map(len, made)) + tokens
    shape = (len(made), network.kv_heads, capacity, graph.cache_width(network.head_dim))
    binding = runner.session.io_binding()
    for name, value in runner.weights.items():
        binding.bind_ortvalue_input(name, value)
    for name, table in runner.rotary_tables(capacity).items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(table))
    for layer in range(network.layers):
        for part in ("key", "value"):  # new ones are written behind the old, in the same memory
            cache = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
            binding.bind_ortvalue_input(f"past.layers.{layer}.{part}", cache)
            binding.bind_ortvalue_output(f"present.layers.{layer}.{part}", cache)
    feeds: dict[str, NDArray[Any]] = {"wanted": np.full((len(made), 1), -1)}
    read = 0
    for place in range(shortest, capacity):
        feeds |= {
            "ids": np.array([ids[read:place] for ids in made]),
            "last": np.full(len(made), place - 1, np.int32),
            "total": np.array(place, np.int32),
        }
        for name, array in feeds.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        binding.bind_output("logits")
        runner.session.run_with_iobinding(binding)
        logits = binding.get_outputs()[-1].numpy()[:, 0]
        for ids, row in zip(made, logits, strict=True):
            if len(ids) == place:
                ids.append(_sample(row, generator))
        read = place
    return made


def _sample(logits: NDArray[np.float32], generator: np.random.Generator) -> int:
    """A token by its probability, the unlikeliest left out."""
    likeliest = np.argpartition(logits, -MOST)[-MOST:] if len(logits) > MOST else np.arange(len(logits))
    order = likeliest[np.argsort(-logits[likeliest], kind="stable")]
    probabilities = np.exp(logits[order].astype(np.float64) - logits[order[0]])
    probabilities /= probabilities.sum()
    count = int(np.searchsorted(np.cumsum(probabilities), MASS)) + 1
    return int(order[generator.choice(count, p=probabilities[:count] / probabilities[:count].sum())])
