"""What a network can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from larqldb.errors import BadPrompt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from larqldb.model.network import Network


def check(network: Network, ids: Sequence[int], before: int = 0) -> None:
    """Raise BadPrompt unless a network can read ``ids`` after ``before`` other tokens."""
    count = before + len(ids)
    if len(ids) == 0:
        raise BadPrompt(problem="the prompt has no tokens", remedy="Give at least one character")
    if count > network.context:
        raise BadPrompt(
            problem=f"the prompt has {count} tokens, the model reads at most {network.context}",
            remedy="Shorten the prompt",
        )
    outside = next((i for i in ids if not 0 <= i < network.vocab), None)
    if outside is not None:
        raise BadPrompt(
            problem=f"token id {outside} is not in the model's vocabulary of {network.vocab}",
            remedy="Check that tokenizer.json belongs to the model",
        )
