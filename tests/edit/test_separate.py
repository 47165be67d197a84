import numpy as np
import pytest

from larqldb.edit.separate import constant, separating


@pytest.fixture
def clouds():
    rng = np.random.default_rng(0)
    common = rng.standard_normal(24)
    others = common + 0.3 * rng.standard_normal((400, 24))
    wanted = common + 0.9 * np.eye(24)[0] + 0.1 * rng.standard_normal((6, 24))
    return wanted.astype(np.float32), others.astype(np.float32)


def test_wanted_vectors_come_out_near_one_and_all_others_below_them(clouds):
    wanted, others = clouds
    direction = separating([(1, wanted[:4]), (1, wanted[4:])], [(1, others[:200]), (1, others[200:])], 0.01)
    assert np.all(np.abs(wanted @ direction - 1) < 0.4)
    assert (others @ direction).max() < (wanted @ direction).min()
    assert direction.dtype == np.float32


def test_an_empty_group_of_others_changes_nothing(clouds):
    wanted, others = clouds
    nothing = np.empty((0, 24), np.float32)
    found = separating([(1, wanted), (2, nothing)], [(1, others), (0.5, nothing)], 0.1)
    np.testing.assert_allclose(found, separating([(1, wanted)], [(1, others)], 0.1), atol=1e-5)


def test_a_group_counts_by_its_weight_as_if_it_were_there_so_often(clouds):
    wanted, others = clouds
    found = separating([(2, wanted)], [(1, others[:200]), (3, others[200:])], 0.1)
    again = separating([(1, wanted)] * 2, [(1, others[:200])] + [(1, others[200:])] * 3, 0.1)
    np.testing.assert_allclose(found, again, atol=1e-4)


def test_the_constant_direction_is_one_where_vectors_have_something_in_common(clouds):
    wanted, others = clouds
    direction = constant([wanted, others])
    assert abs((others @ direction).mean() - 1) < 0.05
    assert (others @ direction).std() < 0.2


def test_the_direction_is_the_one_of_least_cost(clouds):
    """Against the cost's own gradient: 0 where nothing is left to gain, vectors below 0 costing nothing."""
    wanted, others = (vectors.astype(np.float64) for vectors in clouds)
    ridge = 0.05
    found = separating([(2, wanted.astype(np.float32))], [(3, others.astype(np.float32))], ridge).astype(np.float64)
    over = np.maximum(others @ found, 0)
    size = ridge * (2 * np.square(wanted).sum() / len(wanted) + 3 * np.square(others).sum() / len(others)) / 24
    pulls = [2 / len(wanted) * (wanted @ found - 1) @ wanted, 3 / len(others) * over @ others, size * found]
    assert np.linalg.norm(np.sum(pulls, axis=0)) < 0.02 * max(map(np.linalg.norm, pulls))
