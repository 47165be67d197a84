"""Looking after many edits: REBALANCE rescales what facts write, COMPACT makes features of rows, or all anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from larqldb.edit.report import Report
from larqldb.errors import ProgrammingError
from larqldb.storage import edits
from larqldb.storage.edits import InsertedFact, Operation

if TYPE_CHECKING:
    from larqldb.edit.editor import Editor

FLOOR, CEILING, PASSES = 0.30, 0.90, 16
WEAKER, STRONGER = 0.85, 1.15  # of a pass
MOST_PASSES = 1000  # until converged: a fact that no scale brings between floor and ceiling ends it here


def rebalance(
    editor: Editor, *, passes: int | None = None, until_converged: bool = False, floor: float | None = None,
    ceiling: float | None = None,
) -> list[Report]:  # fmt: skip
    """Scale what composed facts write until the probability of each target lies between ``floor`` and ``ceiling``.

    A pass makes the features of facts above the ceiling 0.85 times, of those below the floor 1.15 times as strong; it
    looks at all facts as the pass before left them. Gives a report for each fact that was changed. Raises
    ProgrammingError for bounds that are not probabilities in order.
    """
    low, high = FLOOR if floor is None else floor, CEILING if ceiling is None else ceiling
    if not all(isinstance(bound, int | float) for bound in (low, high)) or not 0 <= low < high <= 1:
        raise ProgrammingError(
            f"FLOOR and CEILING must be probabilities, the floor below the ceiling, not {low}, {high}"
        )
    db, before, after = editor.session.db, dict[int, float](), dict[int, float]()
    facts = {fact.fact: fact for fact in edits.inserted(db) if fact.operation != "insert_knn"}
    for _ in range(MOST_PASSES if until_converged else passes or PASSES):
        reached = {number: _probability(editor, fact) for number, fact in facts.items()}
        after |= {number: reached[number] for number in before}
        factors = {
            number: WEAKER if probability > high else STRONGER
            for number, probability in reached.items()
            if not low <= probability <= high
        }
        if not factors:
            break
        for number, factor in factors.items():
            before.setdefault(number, reached[number])
            _scale(editor, number, factor)
    reports = []
    for number, first in before.items():
        fact, reached_at_last = facts[number], _probability(editor, facts[number])
        edits.set_probability(db, number, reached_at_last)
        note = None if low <= reached_at_last <= high else "not between floor and ceiling yet: more passes go on"
        reports.append(
            Report(fact.entity, fact.relation, fact.target, fact.layer, fact.feature, "rebalance", first,
                   reached_at_last, note=note)
        )  # fmt: skip
    edits.show(db)
    return reports


def compact_minor(editor: Editor) -> list[Report]:
    """Compose features for every fact that is a row looked up by key, in its place and patch; a report for each."""
    rows = [fact for fact in edits.inserted(editor.session.db) if fact.operation == "insert_knn"]
    return _composed_anew(editor, rows)


def compact_major(editor: Editor, *, full: bool = False, ridge: float | None = None) -> list[Report]:
    """Compose all facts that are features anew and together, each told apart from all others; a report for each.

    Each stays in its place and patch, and in its layer. ``full``: rows looked up by key become features, too. ``ridge``
    is what directions are held small by, in mean variances of a coordinate. Raises ProgrammingError for one that is
    not positive.
    """
    if ridge is not None and not (isinstance(ridge, int | float) and ridge > 0):
        raise ProgrammingError(f"LAMBDA must be a number above 0, not {ridge!r}")
    found = edits.inserted(editor.session.db)
    return _composed_anew(editor, [fact for fact in found if full or fact.operation != "insert_knn"], ridge)


def _composed_anew(editor: Editor, facts: Sequence[InsertedFact], ridge: float | None = None) -> list[Report]:
    db = editor.session.db
    before = [_probability(editor, fact) for fact in facts]
    for fact in facts:  # without vectors: what composes sees the model as it is without the facts
        edits.rewrite(db, fact.fact, [_plain(fact)])
    for layer in dict.fromkeys(None if fact.operation == "insert_knn" else fact.layer for fact in facts):
        here = [fact for fact in facts if fact.operation == "insert_knn" or fact.layer == layer]
        triples = [(fact.entity, fact.relation, fact.target) for fact in here]
        groups = editor.compose(triples, layer=layer, mode="compose", ridge=ridge)
        for fact, group in zip(here, groups, strict=True):
            operation = "insert" if fact.operation == "insert_knn" else fact.operation
            edits.rewrite(
                db, fact.fact, [replace(one, operation=operation, confidence=fact.confidence) for one in group]
            )
    editor.background.store()
    reports = []
    placed = {fact.fact: fact for fact in edits.inserted(db)}
    for fact, was in zip(facts, before, strict=True):
        after, place = _probability(editor, fact), placed[fact.fact]
        edits.set_probability(db, fact.fact, after)
        reports.append(
            Report(fact.entity, fact.relation, fact.target, place.layer, place.feature, "compose", was, after)
        )
    edits.show(db)
    return reports


def _plain(fact: InsertedFact) -> Operation:
    """A fact's operation without what makes it so."""
    return Operation(
        "insert", entity=fact.entity, relation=fact.relation, target=fact.target, confidence=fact.confidence
    )


def _probability(editor: Editor, fact: InsertedFact) -> float:
    """Of the whole target in the first wording, as the network is now."""
    return editor.probability(fact.entity, fact.relation, fact.target, fact.layer)


def _scale(editor: Editor, fact: int, factor: float) -> None:
    group = [one for one in edits.in_effect(editor.session.db) if one.fact == fact]
    scaled = [one if one.down is None else replace(one, down=one.down * factor) for one in group]
    edits.rewrite(editor.session.db, fact, scaled)
