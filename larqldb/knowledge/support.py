"""How well the answers to several wordings support each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from larqldb.knowledge.answers import key


@dataclass(frozen=True)
class Support:
    """What speaks for one target of an entity and a relation.

    ``agreement`` is the share of the wordings that it was the answer to, ``probability`` its mean probability over all
    of them, ``lead`` its agreement less that of the best other target. ``spelling`` is how the model wrote it where it
    was surest, ``wordings`` how many were asked.
    """

    spelling: str
    agreement: float
    probability: float
    lead: float
    wordings: int = 1


def supports(answers: Sequence[tuple[str, float]]) -> dict[str, Support]:
    """The support of each target, by its ``answers.key``, best first; from (answer, probability) of every wording.

    Answers that could not be read ("") count as wordings and support nothing.
    """
    given: dict[str, list[tuple[float, str]]] = {}
    for text, probability in answers:
        if same := key(text):
            given.setdefault(same, []).append((probability, text))
    counts = {same: len(group) for same, group in given.items()}
    made = {}
    for same, group in given.items():
        best_other = max((count for other, count in counts.items() if other != same), default=0)
        made[same] = Support(
            spelling=max(group)[1],
            agreement=len(group) / len(answers),
            probability=sum(probability for probability, _ in group) / len(answers),
            lead=(len(group) - best_other) / len(answers),
            wordings=len(answers),
        )
    return dict(sorted(made.items(), key=lambda item: (-item[1].agreement, -item[1].probability, item[0])))
