"""trace(): how an answer forms in the residual stream, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.functions.arguments import json_array
from larqldb.functions.runs import answer_token, run

if TYPE_CHECKING:
    from larqldb.functions.session import Session

Row = tuple[Any, ...]
Within = tuple[int, int] | None


def trace(
    session: Session,
    prompt: str,
    answer: str | None = None,
    decompose: int = 0,
    first_layer: int | None = None,
    last_layer: int | None = None,
    positions: str = "last",
    within: Within = None,
) -> Iterator[Row]:
    """A token's way through the layers, at the last position or, with positions 'all', at each.

    The token is ``answer`` (its first token, as it would follow the prompt) or else the most probable one after the
    position. Columns: layer; position (from 0); token; rank (from 1) and probability, by the logit lens after the
    layer; attn, ffn (with ``decompose``, else NULL) and residual: shares of the token's final logit, the norms held at
    their actual scale, so that residual = embedding + Σ attn + Σ ffn over the layers so far, and after the last layer
    it is the logit, before a softcap; who (attention or ffn: which of them moved the token more); embedding (its share,
    with that of the final norm's bias where there is one); lens_token and lens_probability (the most probable token
    after the layer); read (the prompt's token at the position); pieces (JSON: the tokens that ``answer`` is made of,
    the first of which is followed).
    """
    layers = session.layer_range(first_layer, last_layer, within)
    seen = run(session, "TRACE", prompt, positions)
    pieces = None
    if answer is None:
        tokens = seen.answers
    else:
        token, names = answer_token(session, prompt, answer)
        tokens, pieces = np.full(len(seen.positions), token), json_array(names)
    directions = np.stack(
        [seen.direction(session, place, int(token)) for place, token in enumerate(tokens)]
    )  # [n, hidden]
    constants = np.array([seen.constant(session, int(token)) for token in tokens])
    embedding = np.einsum("nh,nh->n", seen.embedding, directions) + constants
    name = session.tokenizer.text
    for layer, read in zip(layers, seen.lens(layers, tokens), strict=True):
        attn, ffn, residual = (
            np.einsum("nh,nh->n", seen.part(kind, layer), directions)
            for kind in ("attention_output", "ffn_output", "residual")
        )
        residual += constants
        for place, position in enumerate(seen.positions):
            yield (
                layer,
                position,
                name(int(tokens[place])),
                int(read.rank[place]),
                float(read.probability[place]),
                float(attn[place]) if decompose else None,
                float(ffn[place]) if decompose else None,
                float(residual[place]),
                "attention" if abs(attn[place]) > abs(ffn[place]) else "ffn",
                float(embedding[place]),
                name(int(read.top[place])),
                float(read.top_probability[place]),
                name(seen.ids[position]),
                pieces,
            )
