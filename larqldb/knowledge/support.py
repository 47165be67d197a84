"""How well the answers to several wordings support each target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from larqldb.knowledge.answers import key

# What was answered to one wording, and what might have been: (answer, probability), the one that was given first.
Given = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Support:
    """What speaks for one target of an entity and a relation.

    ``agreement`` is the share of the wordings that it was the answer to, ``probability`` its mean probability over all
    of them, ``share`` its part of what it and the most probable other target have together. ``spelling`` is how the
    model wrote it where it was surest, ``wordings`` how many were asked.
    """

    spelling: str
    agreement: float
    probability: float
    share: float
    wordings: int = 1


def supports(answers: Sequence[Given]) -> dict[str, Support]:
    """The support of each target, by its ``answers.key``, best first; from what every wording was answered.

    Answers that could not be read ("") count as wordings and support nothing.
    """
    given: dict[str, int] = {}
    written: dict[str, list[tuple[float, str]]] = {}
    for several in answers:
        for place, (text, probability) in enumerate(several):
            if same := key(text):
                given[same] = given.get(same, 0) + (not place)
                written.setdefault(same, []).append((probability, text))
    sums = {same: sum(probability for probability, _ in ways) for same, ways in written.items()}
    best, second = (*sorted(sums.values(), reverse=True), 0.0, 0.0)[:2]
    made = {}
    for same, ways in written.items():
        both = sums[same] + (second if sums[same] == best else best)
        made[same] = Support(
            spelling=max(ways)[1],
            agreement=given[same] / len(answers),
            probability=sums[same] / len(answers),
            share=sums[same] / both if both else 0.0,
            wordings=len(answers),
        )
    return dict(sorted(made.items(), key=lambda item: (-item[1].agreement, -item[1].probability, item[0])))
