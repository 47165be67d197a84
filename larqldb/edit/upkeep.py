"""Looking after many edits: REBALANCE rescales what facts write, COMPACT MINOR makes features of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from larqldb.edit.asking import asking
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
    db, reports = editor.session.db, []
    for fact in edits.inserted(db):
        if fact.operation != "insert_knn":
            continue
        before = _probability(editor, fact)
        plain = Operation(
            "insert", entity=fact.entity, relation=fact.relation, target=fact.target, confidence=fact.confidence
        )
        edits.rewrite(db, fact.fact, [plain])  # without vectors: what composes sees the model as it is without the fact
        group = editor.compose(fact.entity, fact.relation, fact.target, layer=None, mode="compose")
        edits.rewrite(db, fact.fact, [replace(one, confidence=fact.confidence) for one in group])
        after = _probability(editor, fact)
        edits.set_probability(db, fact.fact, after)
        reports.append(
            Report(fact.entity, fact.relation, fact.target, group[0].layer, group[0].feature, "compose", before, after)
        )
    editor.background.store()
    edits.show(db)
    return reports


def _probability(editor: Editor, fact: InsertedFact) -> float:
    """Of the whole target in the first wording, as the network is now."""
    how = asking(editor.session.db, fact.entity, fact.relation)
    canonical = replace(how, prompts=how.prompts[:1])
    return editor.measuring.read(editor.session.runner, canonical, fact.target, others=False).probability


def _scale(editor: Editor, fact: int, factor: float) -> None:
    group = [one for one in edits.in_effect(editor.session.db) if one.fact == fact]
    scaled = [one if one.down is None else replace(one, down=one.down * factor) for one in group]
    edits.rewrite(editor.session.db, fact, scaled)
