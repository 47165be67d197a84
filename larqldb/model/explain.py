"""What each part of a network adds to a token's logit.

The residual is a sum: the embedding and what every layer's attention and FFN wrote. The final norm divides it by its
root mean square; with that scale held at its actual value the logit of a token t is a sum too,

    logit = Σ_parts part · direction,    direction = w ∘ E_t / rms(residual)

with w the norm's weight and E_t the token's row of the head. A layer norm subtracts the mean first: so does direction,
for (part - mean) · d = part · (d - mean); and its bias b adds b · E_t, whatever the prompt. Where the network norms
what a block writes, that norm is held at its actual scale in the same way. Nothing is approximated: the parts add up to
the logit, before the softcap where the network caps its logits. What is held fixed is the credit for the norms: a part
that also makes the residual longer lowers every logit, and none of that is charged to it.

Elhage et al., A Mathematical Framework for Transformer Circuits, 2021, "logit attribution",
https://transformer-circuits.pub/2021/framework/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from larqldb.model.norms import scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.model.network import Network


def direction(
    network: Network,
    residual: NDArray[np.float32],
    norm: NDArray[np.float32],
    unembedding: NDArray[np.float32],
) -> NDArray[np.float64]:
    """What a part of the residual is multiplied by to give its share of a logit: float64 [hidden].

    ``residual`` [hidden] is what enters the final norm, ``norm`` [hidden] what that multiplies by, ``unembedding``
    [hidden] the token's row of the head.
    """
    return through_norm(network, unembedding.astype(np.float64), residual, norm)


def through_norm(
    network: Network, towards: NDArray[np.float64], unnormed: NDArray[np.float32], norm: NDArray[np.float32]
) -> NDArray[np.float64]:
    """``towards`` [hidden] before a norm that ``unnormed`` [hidden] enters, its scale held: float64 [hidden]."""
    before = towards * norm / scale(network, unnormed)
    return np.asarray(before - before.mean() if network.layer_norm else before)


def feature_shares(
    activations: NDArray[np.float32], down: NDArray[np.float32], towards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shares of features by their activations [n] and down vectors [n, hidden]: float64 [n]."""
    return np.asarray(activations * (down @ towards))


def head_towards(network: Network, output: NDArray[np.float32], towards: NDArray[np.float64]) -> NDArray[np.float64]:
    """``towards`` [hidden] as each head sees it through ``attn_o`` [hidden, heads · head_dim]: [heads, head_dim]."""
    return (towards @ output).reshape(network.heads, network.head_dim)


def read_shares(
    network: Network,
    weights: NDArray[np.float32],
    values: NDArray[np.float32],
    towards: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The share of what each head reads from each position: float64 [heads, s].

    ``weights`` [heads, s] are one position's attention weights, ``values`` [s, kv_heads · head_dim] the values read,
    ``towards`` [heads, head_dim] comes from ``head_towards``. The shares of a head's positions sum to the head's.
    """
    parts = values.reshape(len(values), network.kv_heads, network.head_dim)
    group = network.heads // network.kv_heads
    grouped = towards.reshape(network.kv_heads, group, network.head_dim)
    worth = np.einsum("skd,kgd->kgs", parts, grouped).reshape(network.heads, len(values))
    return np.asarray(weights * worth)
