from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from larqldb.model import graph
from larqldb.model.quantise import BLOCK, quantise
from larqldb.model.runner import Runner


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (3, 31), (7, 64), (5, 100), (300, 576)])
@pytest.mark.parametrize(("bits", "steps"), [(8, 127), (4, 7.5)])
def test_numbers_move_by_half_a_step_at_most(shape, bits, steps):
    matrix = normal(*shape)
    blocks = quantise(matrix, bits)
    assert blocks.shape == shape
    padded = np.pad(np.abs(matrix), ((0, 0), (0, -shape[1] % BLOCK)))
    largest = padded.reshape(shape[0], -1, BLOCK).max(-1).repeat(BLOCK, 1)[:, : shape[1]]
    assert (np.abs(blocks.matrix() - matrix) <= largest / steps / 2 + 1e-6).all()


def test_constant_and_empty_blocks():
    matrix = np.zeros((3, 64), np.float32)
    matrix[1] = 2.5
    for bits in (8, 4):
        assert np.allclose(quantise(matrix, bits).matrix(), matrix)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_levels_of_affine_4_bit_weights_are_found_again(dtype):
    rng = np.random.default_rng(0)
    q = rng.integers(0, 16, (50, 8, 32))
    q[..., 0], q[..., 1] = 0, 15
    scale, low = rng.uniform(0.01, 0.1, (50, 8, 1)), rng.uniform(-0.5, 0, (50, 8, 1))
    matrix = (q * scale + low).reshape(50, 256).astype(dtype)
    error = np.abs(quantise(matrix, 4).matrix() - matrix.astype(np.float32)).max()
    assert error <= 2 * float(ml_dtypes.finfo(dtype).eps) * np.abs(matrix.astype(np.float32)).max() + 1e-6


def test_8_bit_levels_are_found_again():
    rng = np.random.default_rng(1)
    q = rng.integers(-127, 128, (40, 4, 32))
    q[..., 3] = 127
    matrix = (q * rng.uniform(0.001, 0.01, (40, 4, 1))).reshape(40, 128).astype(np.float16)
    assert np.abs(quantise(matrix, 8).matrix() - matrix.astype(np.float32)).max() <= np.abs(matrix).max() * 2**-10


@pytest.mark.parametrize(("precision", "bits"), [("int8", 8), ("int4", 4)])
def test_a_packed_network_is_the_network_of_its_rounded_weights(tiny, precision, bits):
    def distance(logits, expected):
        return np.linalg.norm(logits - expected) / np.linalg.norm(expected)

    def rounded(role, layer):
        matrix = tiny.weights(role, layer)
        head = "embed" if tiny.network.tied else "head"
        if role in (head, "embed", "positions") or matrix.ndim == 1:
            return matrix
        return quantise(matrix.T, bits).matrix().T if role == "down" else quantise(matrix, bits).matrix()

    exact = Runner(tiny.network, rounded, threads=1).all_logits(tiny.ids)
    packed = Runner(tiny.network, tiny.weights, threads=1, precision=precision)
    logits = packed.all_logits(tiny.ids)
    assert distance(logits, exact) < 0.05  # x is rounded to 8 bits as well
    decoder = packed.decoder()
    for position, token in enumerate(tiny.ids[:12]):
        assert distance(decoder.read([token]), logits[position]) < 0.05


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_results_inside_a_packed_network_can_be_observed(tiny, precision):
    everything = Runner(
        tiny.network, tiny.weights, threads=1, precision=precision, expose=graph.observable(tiny.network)
    )
    seen = everything.observe(tiny.ids)
    residual = seen["embedding"] + sum(
        seen[f"layers.{layer}.{part}"]
        for layer in range(tiny.network.layers)
        for part in ("attention_output", "ffn_output")
    )
    assert np.abs(residual - seen[f"layers.{tiny.network.layers - 1}.residual"]).max() < 1e-3
    assert everything.head(seen[f"layers.{tiny.network.layers - 1}.residual"]).shape == (
        len(tiny.ids),
        tiny.network.vocab,
    )


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_embeddings_stay_as_stored(tiny_named, dtype):
    tiny = tiny_named("gemma3")
    runner = Runner(
        tiny.network,
        lambda role, layer: tiny.weights(role, layer).astype(dtype),
        precision="int8",
        expose=["embedding"],
    )
    table = tiny.weights("embed", None).astype(dtype).astype(np.float32)
    expected = table[tiny.ids] * np.float32(tiny.network.embed_scale)
    assert np.array_equal(runner.observe(tiny.ids)["embedding"], expected)
