"""The walk on the small random models of every family: with all rows near the whole network, and what it pulls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from larqldb.errors import BadPrompt
from larqldb.model import budgets
from larqldb.model.walk import ROOM, Choice, Walker, WalkModel


class Memory:
    """Down vectors in an array, a few places of which are used at a time."""

    def __init__(self, tiny, capacity=None, dtype=np.float32):
        self._down = [np.ascontiguousarray(tiny.weights("down", i), dtype) for i in range(tiny.network.layers)]
        self.rows = np.zeros((capacity or tiny.network.ffn, tiny.network.hidden), dtype)
        self.asked: list[int] = []

    def places(self, layer, features):
        self.asked.append(len(features))
        places = np.arange(len(features))[::-1].copy()
        self.rows[places] = self._down[layer][features]
        return places


def walker(tiny, choice=None, rows=None):
    network = tiny.network
    norms = [np.linalg.norm(tiny.weights("down", layer), axis=1) for layer in range(network.layers)]
    head = tiny.weights("embed" if network.tied else "head", None)
    half = len(head) // 2
    model = WalkModel(network, tiny.weights, [head[:half], head[half:]], np.array(norms, np.float32))
    embeddings = tiny.weights("embed", None)
    return Walker(
        model, lambda ids: embeddings[ids], rows or Memory(tiny), choice or Choice("mass", (1.0,) * network.layers)
    )


def test_all_rows_come_near_the_whole_network(tiny):
    """Eight-bit blocks leave an error of a few hundredths of the logits' spread."""
    walked, whole = walker(tiny).all_logits(tiny.ids), tiny.runner().all_logits(tiny.ids)
    assert np.sqrt(np.mean(np.square(walked - whole))) < 0.08 * whole.std()


def test_token_by_token_is_the_same_text(tiny):
    made = walker(tiny)
    whole = made.all_logits(tiny.ids)
    made.restart()
    single = np.stack([made.read([token]).copy() for token in tiny.ids])
    assert np.sqrt(np.mean(np.square(single - whole))) < 0.08 * whole.std()
    assert made.position == len(tiny.ids)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_small_cache_changes_nothing(tiny_named, dtype):
    tiny = tiny_named("llama")
    small = walker(tiny, rows=Memory(tiny, 5, dtype)).all_logits(tiny.ids)
    large = walker(tiny, rows=Memory(tiny, None, dtype)).all_logits(tiny.ids)
    assert np.sqrt(np.mean(np.square(small - large))) < 0.02 * large.std()  # sums in another order, then rounded


def test_rows_are_counted(tiny_named):
    tiny = tiny_named("llama")
    network, count = tiny.network, len(tiny.ids)
    made = walker(tiny, Choice("top", (7.0,) * network.layers))
    made.read(tiny.ids)
    assert made.pulled == 7 * network.layers * count
    assert made.possible == network.ffn * network.layers * count


def test_only_chosen_rows_are_asked_for(tiny_named):
    tiny = tiny_named("llama")
    rows = Memory(tiny)
    walker(tiny, Choice("top", tuple(float(layer + 1) for layer in range(tiny.network.layers))), rows).read(
        tiny.ids[:1]
    )
    assert rows.asked == [layer + 1 for layer in range(tiny.network.layers)]


def test_a_text_longer_than_its_first_room_goes_on(tiny_named):
    tiny = tiny_named("llama")
    room = min(tiny.network.context, ROOM + 40)
    ids = (tiny.ids * room)[:room]
    made = walker(tiny)
    parts = [made.read(ids[:3]), *(made.read([token]).copy() for token in ids[3:])]
    whole = tiny.runner().logits(ids)
    assert np.sqrt(np.mean(np.square(parts[-1] - whole))) < 0.1 * whole.std()


def test_a_layer_can_be_looked_at(tiny_named):
    tiny = tiny_named("llama")
    looks = walker(tiny).look(tiny.ids)
    seen = tiny.runner([f"layers.{i}.activations" for i in range(tiny.network.layers)]).observe(tiny.ids)
    assert len(looks) == tiny.network.layers
    for layer, look in enumerate(looks):
        true = seen[f"layers.{layer}.activations"][-1]
        assert np.corrcoef(look.activations, true)[0, 1] > 0.99


@pytest.mark.parametrize("ids", [[], [-1], [1 << 30]])
def test_prompts_are_checked(tiny_named, ids):
    with pytest.raises(BadPrompt):
        walker(tiny_named("llama")).read(ids)


contributions = st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=40).map(
    lambda values: np.array([values], np.float32)
)


@given(contributions, st.floats(0.05, 1.0))
def test_mass_takes_the_fewest_that_hold_the_share(values, mass):
    kept = Choice("mass", (mass,)).keep(0, values)[0]
    total = values.sum(dtype=np.float64)
    assert values[0][kept].sum(dtype=np.float64) >= (mass - 1e-4) * total
    smaller = values[0][kept & (values[0] > values[0][kept].min())]
    assert not kept.all() or mass > 0
    assert smaller.sum(dtype=np.float64) <= (mass + 1e-4) * total


@given(contributions, st.integers(1, 50))
def test_top_takes_the_largest(values, count):
    kept = Choice("top", (float(count),)).keep(0, values)[0]
    assert kept.sum() >= min(count, values.size)  # ties come along
    if not kept.all():
        assert values[0][kept].min() >= values[0][~kept].max()


@given(contributions, st.floats(0, 1))
def test_least_is_a_share_of_the_length_where_relative(values, least):
    plain = Choice("least", (least,)).keep(0, values)
    assert np.array_equal(plain, values >= np.float32(least))
    relative = Choice("least", (least,), relative=True).keep(0, values * 8)
    assert np.array_equal(relative, Choice("least", (least,), relative=True).keep(0, values))


def test_budgets_reach_the_wanted_divergence_with_fewer_rows_than_one_mass(tiny_named):
    tiny = tiny_named("llama")
    model = walker(tiny).model
    embeddings, rows = tiny.weights("embed", None), Memory(tiny)

    def start(choice):
        return Walker(model, lambda ids: embeddings[ids], rows, choice)

    texts = [tiny.ids]
    true = [tiny.runner().all_logits(tiny.ids)]
    choice, found = budgets.find(start, tiny.network.layers, False, texts, true, kl=0.1)
    assert choice.rule == "least"
    assert len(choice.numbers) == tiny.network.layers
    assert found.kl <= 0.1
    assert found.share < 0.95
    assert budgets.measure(start, choice, texts, true) == found


def test_budgets_out_of_reach_are_all_rows(tiny_named):
    tiny = tiny_named("llama")
    model, rows, embeddings = walker(tiny).model, Memory(tiny), tiny.weights("embed", None)
    choice, found = budgets.find(
        lambda choice: Walker(model, lambda ids: embeddings[ids], rows, choice),
        tiny.network.layers, False, [tiny.ids], [tiny.runner().all_logits(tiny.ids)], kl=1e-9,
    )  # fmt: skip
    assert found.share == 1
    assert choice.numbers == (0.0,) * tiny.network.layers


def test_divergences_are_those_of_the_definition():
    true, other = np.random.default_rng(0).standard_normal((2, 3, 7)).astype(np.float32)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (true.astype(float), other.astype(float)))
    np.testing.assert_allclose(budgets.divergences(true, other), (p * np.log(p / q)).sum(-1))
