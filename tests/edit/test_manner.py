"""What wordings have in common for all entities carries over to entities that they were not read for."""

import numpy as np

from larqldb.edit.manner import Manner

RNG = np.random.default_rng(0)
NAMES, WORDINGS = RNG.standard_normal((6, 8)), RNG.standard_normal((5, 8))
WHOLE = (NAMES[:4, None] + WORDINGS[None]).astype(np.float32)
CANONICAL = (NAMES + WORDINGS[0]).astype(np.float32)
NOTHING = np.empty((0, 8), np.float32)
MANNER = Manner(("a", "b", "c", "d", "e", "f"), 2, CANONICAL, WHOLE, NOTHING, np.ones(8, np.float32))


def test_wordings_not_read_follow_from_those_read():
    name = RNG.standard_normal(8)
    implied = MANNER.implied("x", (name + WORDINGS[:2]).astype(np.float32))
    np.testing.assert_allclose(implied, name + WORDINGS[2:], atol=1e-5)


def test_others_are_read_or_follow_and_never_the_entity_itself():
    read, implied = MANNER.others("B")
    assert len(read) == 5 + 3 * 5
    np.testing.assert_allclose(implied, (np.delete(NAMES, 1, axis=0)[:, None] + WORDINGS[1:]).reshape(-1, 8), atol=1e-5)


def test_a_relation_of_one_name_implies_nothing_for_it():
    alone = Manner(("a",), 2, CANONICAL[:1], WHOLE[:1], NOTHING, np.ones(8, np.float32))
    assert not len(alone.implied("A", WHOLE[0, :2]))
    assert [len(part) for part in alone.others("a")] == [0]
