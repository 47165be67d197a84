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
    direction = separating(wanted, [others[:200], others[200:]], (1.0, 0.5))
    assert np.all(np.abs(wanted @ direction - 1) < 0.4)
    assert (others @ direction).max() < (wanted @ direction).min()
    assert direction.dtype == np.float32


def test_an_empty_group_of_others_changes_nothing(clouds):
    wanted, others = clouds
    nothing = np.empty((0, 24), np.float32)
    np.testing.assert_allclose(
        separating(wanted, [others, nothing], (1.0, 1.0)), separating(wanted, [others], (1.0,)), atol=1e-5
    )


def test_the_constant_direction_is_one_where_vectors_have_something_in_common(clouds):
    wanted, others = clouds
    direction = constant([wanted, others])
    assert abs((others @ direction).mean() - 1) < 0.05
    assert (others @ direction).std() < 0.2
