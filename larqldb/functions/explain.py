"""explain_infer(), attention() and attention_heads(): which parts of the network made an answer.

All of them read one run of the whole network. A share of a logit is the exact linear part that something adds to the
answer's logit with the norms held at their actual scale (``model/explain.py``): the embedding, all heads and all
features, with the biases where there are any, sum to the logit. Where the network caps its logits, they sum to the
logit before the cap. On a connection with precision int8 or int4 the run is the rounded network's and the vectors are
the file's: the sum is off by about as much as rounding moves the logit (0.02 of 17 for int8 on SmolLM2).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.functions.arguments import json_array, positive
from larqldb.functions.labels import token_lists
from larqldb.functions.runs import Run, answer_token, run
from larqldb.model import explain
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

Row = tuple[Any, ...]
Within = tuple[int, int] | None


def explain_infer(
    session: Session,
    prompt: str,
    top: int = 10,
    first_layer: int | None = None,
    last_layer: int | None = None,
    relations_only: int = 0,
    answer: str | None = None,
    within: Within = None,
) -> Iterator[Row]:
    """The ``top`` features of each layer that contributed most to what follows a prompt, by |activation|·‖down‖.

    Columns: layer, rank, feature, gate (gate·x of the real run), activation (act(gate·x)·up·x), contribution (its size
    times ‖down‖), token, also (the next nine tokens, JSON), relation, logit (what the feature adds to the answer's
    logit; negative where it speaks against it), answer (the most probable token, or the one asked for). Where the FFN
    has a bias, it comes last in its layer: a row without feature, gate, activation and tokens. So does a row of an edit
    that was looked up by key, with its target as token and activation 1.
    """
    count = positive(top, "top")
    layers = session.layer_range(first_layer, last_layer, within)
    seen = run(session, "EXPLAIN INFER", prompt)
    token, name = _answer(session, seen, prompt, answer)
    direction = seen.direction(session, 0, token)
    for layer in layers:
        activations = seen.activations(layer)
        chosen, contributions, relations = _strongest(session, layer, activations, count, bool(relations_only))
        if not chosen:
            continue
        gates = session.features("gate", layer)[chosen].astype(np.float64) @ seen.part("ffn_input", layer)[0]
        gate_bias, down_bias = session.feature_bias("gate", layer), session.bias("down", layer)
        if gate_bias is not None:
            gates += gate_bias[chosen]
        towards = seen.towards(session, "ffn", layer, 0, direction)
        shares = explain.feature_shares(activations[chosen], session.features("down", layer)[chosen], towards)
        numbers = session.numbers(layer, chosen)
        tokens = token_lists(session, ((layer, feature) for feature in numbers))
        for place, feature in enumerate(numbers):
            first, *also = tokens[layer, feature]
            yield (
                layer, place + 1, feature, float(gates[place]), float(activations[chosen[place]]), contributions[place],
                first, json_array(also), relations[place], float(shares[place]), name,
            )  # fmt: skip
        if down_bias is not None and not relations_only:
            size, share = float(np.linalg.norm(down_bias)), float(down_bias @ towards)
            yield layer, len(chosen) + 1, None, None, None, size, None, None, None, share, name
        if layer in session.live.rows:
            yield from _looked_up(session, seen, layer, len(chosen) + 1 + (down_bias is not None), direction, name)


def attention(
    session: Session,
    prompt: str,
    first_layer: int | None = None,
    last_layer: int | None = None,
    answer: str | None = None,
    within: Within = None,
) -> Iterator[Row]:
    """One row a layer: what the logit lens reads after it, and the one thing a head read that moved the answer most.

    Columns: layer, lens_token and lens_probability (the most probable token if the network ended there),
    attended_token and attended_weight (what that head read and how much of its attention it gave it), head,
    attended_position, logit (what that added to the answer's logit).
    """
    layers = session.layer_range(first_layer, last_layer, within)
    seen = run(session, "EXPLAIN INFER … WITH ATTENTION", prompt)
    token, _ = _answer(session, seen, prompt, answer)
    direction = seen.direction(session, 0, token)
    for layer, read in zip(layers, seen.lens(layers, np.array([token])), strict=True):
        shares = seen.read_shares(session, layer, 0, direction)  # [heads, s]
        head, position = map(int, np.unravel_index(np.abs(shares).argmax(), shares.shape))
        yield (
            layer,
            session.tokenizer.text(int(read.top[0])),
            float(read.top_probability[0]),
            session.tokenizer.text(seen.ids[position]),
            float(seen.weights(layer)[head, 0, position]),
            head,
            position,
            float(shares[head, position]),
        )


def attention_heads(
    session: Session,
    prompt: str,
    first_layer: int | None = None,
    last_layer: int | None = None,
    positions: str = "last",
    answer: str | None = None,
    within: Within = None,
) -> Iterator[Row]:
    """What every head reads from every position it sees, from the last position or, with 'all', from each.

    Columns: layer, head, position (the reader), attended_position, attended_token, weight (a head's weights at a
    position sum to 1), logit (what the head adds, by what it reads there, to the logit of the answer at the reader's
    position; a head's own share is their sum). Where the heads' output has a bias, it comes last for each layer and
    position: a row without head, what is attended and weight.
    """
    layers = session.layer_range(first_layer, last_layer, within)
    seen = run(session, "attention_heads()", prompt, positions)
    asked = None if answer is None else answer_token(session, prompt, answer)[0]
    directions = [
        seen.direction(session, place, int(token) if asked is None else asked)
        for place, token in enumerate(seen.answers)
    ]
    names = [session.tokenizer.text(token) for token in seen.ids]
    for layer in layers:
        weights, bias = seen.weights(layer), session.bias("attn_o", layer)
        for place, position in enumerate(seen.positions):
            shares = seen.read_shares(session, layer, place, directions[place])
            for head in range(seen.network.heads):
                for attended in range(position + 1):
                    weight = float(weights[head, place, attended])
                    yield layer, head, position, attended, names[attended], weight, float(shares[head, attended])
            if bias is not None:
                share = float(bias @ seen.towards(session, "attention", layer, place, directions[place]))
                yield layer, None, position, None, None, None, share


def _answer(session: Session, seen: Run, prompt: str, answer: str | None) -> tuple[int, str]:
    """The token that shares are about, and its name."""
    token = int(seen.answers[0]) if answer is None else answer_token(session, prompt, answer)[0]
    return token, session.tokenizer.text(token)


def _looked_up(
    session: Session, seen: Run, layer: int, rank: int, direction: NDArray[np.float64], name: str
) -> Iterator[Row]:
    """The row of key and value that the layer's input took, as a row without a feature: activation is 1."""
    values = session.live.layers[layer].values
    assert values is not None
    for place in np.flatnonzero(seen.part("looked_up", layer)[0]).tolist():
        operation, size = session.live.rows[layer][place], float(np.linalg.norm(values[place]))
        share = float(values[place] @ direction)
        yield layer, rank, None, None, 1.0, size, operation.target, "[]", operation.relation, share, name


def _strongest(
    session: Session, layer: int, activations: NDArray[np.float32], count: int, labelled: bool
) -> tuple[list[int], list[float], list[str | None]]:
    """The features of a layer that contribute most, best first: places, |activation|·‖down‖, relations."""
    rows = fetch(session.db, "SELECT down_norm, relation FROM features WHERE layer = ? ORDER BY feature", (layer,))
    relations = [relation for _, relation in rows] + session.live.relations(layer)
    norms = np.append([norm for norm, _ in rows], session.live.down_norms(layer))
    contributions = np.abs(activations.astype(np.float64)) * norms
    order = np.lexsort((np.arange(len(norms)), -contributions)).tolist()
    chosen = [feature for feature in order if not labelled or relations[feature] is not None][:count]
    return chosen, contributions[chosen].tolist(), [relations[feature] for feature in chosen]
