"""What a statement says of an edit it made."""

from __future__ import annotations

from typing import NamedTuple


class Report(NamedTuple):
    """What was done with one fact; None where it does not apply or was not measured.

    Probabilities are the whole target's: in the canonical wording before and after, and ``paraphrase``, the mean of
    the other wordings after. ``neighbourhood`` is the most that the probability of another entity's answer changed,
    ``kl`` the mean divergence on unrelated text in nats. ``note`` is a sentence for the user.
    """

    entity: str | None
    relation: str | None
    target: str | None
    layer: int | None = None
    feature: int | None = None
    mode: str | None = None
    probability_before: float | None = None
    probability_after: float | None = None
    paraphrase: float | None = None
    neighbourhood: float | None = None
    kl: float | None = None
    note: str | None = None
