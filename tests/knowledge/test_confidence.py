from __future__ import annotations

import numpy as np
import pytest

from larqldb.knowledge.confidence import DOUBT, PRECISE, Answers, Confidence, fit
from larqldb.knowledge.support import Given, Support, supports


def test_supports_put_spellings_together():
    found = supports([[("Paris", 0.5)], [("the paris", 0.7)], [("Lyon", 0.2)], [("", 0.9)]])
    assert list(found) == ["paris", "lyon"]
    assert found["paris"].spelling == "the paris"
    assert found["paris"].agreement == 0.5
    assert found["paris"].probability == pytest.approx(0.3)
    assert found["paris"].share == pytest.approx(1.2 / 1.4)
    assert found["lyon"].share == pytest.approx(0.2 / 1.4)


def test_what_came_close_supports_too():
    found = supports([[("Paris", 0.5), ("the Paris", 0.2), ("Lyon", 0.1)], [("", 0.3), ("Lyon", 0.2), ("Nice", 0.1)]])
    assert list(found) == ["paris", "lyon", "nice"]
    assert [each.agreement for each in found.values()] == [0.5, 0, 0]
    assert [each.probability for each in found.values()] == pytest.approx([0.35, 0.15, 0.05])
    assert [each.share for each in found.values()] == pytest.approx([0.7, 0.3, 0.125])


def test_more_support_is_never_less_confidence():
    sure = Confidence()
    rated = [sure.of(Support("x", share, share * 0.8, share, 6)) for share in np.linspace(0, 1, 11)]
    assert rated == sorted(rated)
    assert 0 <= rated[0] < 0.1
    assert 0.8 < rated[-1] <= 1


def _asked(*answers: Given) -> Answers:
    return {f"wording {number} of {{entity}}": given for number, given in enumerate(answers)}


def _relation(rng: np.random.Generator, entities: int, wordings: int) -> list[Answers]:
    """Entities that a model knows more or less well: each wording gives the same answer with that probability."""
    made = []
    for entity in range(entities):
        known = rng.choice([0.2, 0.5, 0.95])
        right, wrong = (f"right {entity}", known * rng.uniform(0.6, 1)), (f"wrong {rng.integers(9)}", 0.1)
        made.append(_asked(*([right, wrong] if rng.random() < known else [wrong, right] for _ in range(wordings))))
    return made


def test_confidence_is_how_often_a_new_wording_agrees():
    rng = np.random.default_rng(1)
    sure, bins = fit({name: _relation(rng, 120, 6) for name in "abcd"})
    as_they_are = [each for each in bins if not DOUBT < each.confidence < 0.5]  # what lies between was moved down
    errors = sum(abs(each.confidence - each.observed) * each.edges for each in as_they_are)
    assert errors < 0.1 * sum(each.edges for each in as_they_are)
    upper = [each for each in bins if each.confidence >= 0.5]
    assert sum(each.observed * each.edges for each in upper) >= 0.9 * sum(each.edges for each in upper)
    assert 0.5 <= sure.half <= 0.9
    assert PRECISE > 0.9


def test_one_wording_or_none_leaves_what_there_was_before():
    assert fit({}) == (Confidence(), [])
    assert fit({"a": [_asked([("Paris", 0.5)]), _asked([("Rome", 0.4)])]}) == (Confidence(), [])


def test_a_wording_with_examples_is_no_other_wording():
    twice = {"The capital of {entity} is": [("Paris", 0.9)], "A: b\nThe capital of {entity} is": [("Paris", 0.8)]}
    assert fit({"a": [twice] * 50}) == (Confidence(), [])
    _, bins = fit({"a": [{**twice, "{entity}:": [("Lyon", 0.9)]}] * 50})
    assert {each.observed for each in bins} == {0.0}  # Paris is never held against Paris


def test_a_relation_whose_agreement_means_little_is_rated_lower():
    rng = np.random.default_rng(3)
    fickle = [
        _asked(*([(f"right {entity}", 0.9)] for _ in range(4)), [(f"wrong {entity}", 0.2)]) for entity in range(60)
    ]
    sure, _ = fit({"a": _relation(rng, 60, 5), "b": _relation(rng, 60, 5), "fickle": fickle})
    support = Support("x", 1.0, 0.9, 1.0, 4)
    assert sure.of(support, "fickle") < sure.of(support, "a")
    assert sure.of(support, "never asked") == sure.of(support)


def test_many_entities_are_fitted_on_as_many_as_it_takes():
    rng = np.random.default_rng(2)
    _, bins = fit({"a": _relation(rng, 250, 3)})
    few, most = (sum(each.edges for each in fit({"a": _relation(rng, count, 3)})[1]) for count in (80, 100))
    assert few < sum(each.edges for each in bins) <= 1.5 * most


def test_a_few_answers_hardly_move_it():
    few, _ = fit({"a": [_asked([("Paris", 0.9)], [("Lyon", 0.9)]), _asked([("Rome", 0.9)], [("Bari", 0.9)])]})
    assert np.abs(np.array(few.weights) - Confidence().weights).max() < 2.5
    assert few.half == Confidence().half


def test_answers_nobody_could_read():
    sure, bins = fit({"a": [_asked(*[[("", 0.0)]] * 4)] * 3})
    assert (sure, bins) == (Confidence(), [])
