from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import larqldb
from larqldb.knowledge import clusters
from larqldb.storage.database import fetch


def planted(groups: int, members: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around ``groups`` directions, and the group of each."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((groups, 48))
    of = np.repeat(np.arange(groups), members)
    points = centres[of] + noise * rng.standard_normal((len(of), 48))
    order = rng.permutation(len(of))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points[order].astype(np.float32), of[order]


def test_planted_groups_are_found() -> None:
    points, of = planted(10, 40, noise=0.3)
    found = clusters.clusters(points)
    assert found.count == 400 // clusters.LEAST
    labelled = found.cluster >= 0
    assert labelled.mean() > 0.9
    for cluster in np.unique(found.cluster[labelled]):
        assert len(np.unique(of[found.cluster == cluster])) == 1


def test_directions_without_groups_are_hardly_labelled() -> None:
    points, _ = planted(1, 2000, noise=1e6)
    found = clusters.clusters(points)
    assert (found.cluster >= 0).mean() < 0.03


def test_the_same_numbers_and_seed_give_the_same_clusters() -> None:
    points, _ = planted(8, 30, noise=0.8)
    first, again, other = clusters.clusters(points), clusters.clusters(points), clusters.clusters(points, seed=1)
    np.testing.assert_array_equal(first.cluster, again.cluster)
    np.testing.assert_array_equal(first.cosines, again.cosines)
    assert not np.array_equal(first.cluster, other.cluster)


def test_cosines_are_to_the_clusters_mean() -> None:
    points, _ = planted(6, 30, noise=0.2)
    cluster, cosines = clusters.spherical_kmeans(points, 6, 0)
    for one in range(6):
        mean = points[cluster == one].mean(axis=0)
        np.testing.assert_allclose(points[cluster == one] @ mean / np.linalg.norm(mean), cosines[cluster == one], 1e-5)


def test_equal_points_leave_no_cluster_undefined() -> None:
    points = np.tile(np.eye(1, 8, dtype=np.float32), (40, 1))
    cluster, cosines = clusters.spherical_kmeans(points, 4, 0)
    assert np.isfinite(cosines).all()
    assert set(cluster.tolist()) <= set(range(4))


@pytest.mark.parametrize("count", [0, 1, 31])
def test_too_few_to_cluster(count: int) -> None:
    points, _ = planted(1, 31, noise=0.1)
    found = clusters.clusters(points[:count])
    assert found.count == 0
    assert (found.cluster == -1).all()


TEXTS = [" France", " Japan", " Italy", " Paris", " Tokyo", " Rome", " French", " yen", "x"]
FRANCE, JAPAN, ITALY, PARIS, TOKYO, ROME, FRENCH, YEN, _ = range(len(TEXTS))


def named(steps: list[tuple[int, int, int]], facts: dict[tuple[str, int], set[tuple[str, str]]]) -> dict[int, str]:
    """Names of the clusters of steps (cluster, input, output)."""
    cluster, inputs, outputs = (np.array(column) for column in zip(*steps, strict=True))
    n = len(steps)
    made = clusters.Steps(np.zeros((n, 2), np.int64), inputs[:, None], outputs, np.zeros((n, 2), np.float32))
    found = clusters.Clusters(cluster, np.ones(n, np.float32), int(cluster.max()) + 1, 0.0)
    return clusters.names(found, made, TEXTS, facts)


CAPITALS = {("france", PARIS): {("capital", "Paris")}, ("japan", TOKYO): {("capital", "Tokyo")}}


def test_a_cluster_is_called_by_the_facts_it_hits() -> None:
    assert named([(0, FRANCE, PARIS), (0, JAPAN, TOKYO), (0, ITALY, FRENCH)], CAPITALS) == {0: "capital"}


def test_one_fact_is_not_enough() -> None:
    assert named([(0, FRANCE, PARIS), (0, FRANCE, PARIS), (0, ITALY, ROME)], CAPITALS) == {0: "cluster:paris/rome"}


def test_a_relation_has_to_be_hit_twice_as_often_as_any_other() -> None:
    facts = CAPITALS | {("italy", ROME): {("largest city", "Rome")}}
    facts |= {("japan", TOKYO): {("capital", "Tokyo"), ("largest city", "Tokyo")}}
    steps = [(0, FRANCE, PARIS), (0, JAPAN, TOKYO), (0, ITALY, ROME)]
    assert named(steps, facts)[0].startswith("cluster:")


def test_words_that_tell_a_cluster_come_first_and_names_differ() -> None:
    steps = [(0, FRANCE, PARIS), (0, FRANCE, PARIS), (0, JAPAN, YEN), (1, ITALY, YEN), (1, ITALY, YEN), (2, JAPAN, YEN)]
    names = named(steps, {})
    assert names[0].startswith("cluster:paris")
    assert names[1] == "cluster:yen"
    assert len(set(names.values())) == 3


def test_unlabelled_steps_name_nothing() -> None:
    assert named([(-1, FRANCE, PARIS), (-1, JAPAN, TOKYO)], CAPITALS) == {}


def test_steps_are_from_words_to_words_of_the_knowledge_band(tiny_vindex: Path) -> None:
    connection = larqldb.connect(tiny_vindex)
    try:
        session = connection.session
        texts = [text for (text,) in fetch(session.db, "SELECT text FROM tokens ORDER BY token_id")]
        made = clusters.steps(session, texts, {0})
        knowledge = {layer for (layer,) in fetch(session.db, "SELECT layer FROM layers WHERE band = 'knowledge'")}
        assert set(made.places[:, 0].tolist()) <= knowledge
        assert len(made.places) > 0
        for (layer, feature), inputs, output, direction in zip(
            made.places.tolist(), made.inputs.tolist(), made.outputs.tolist(), made.directions, strict=True
        ):
            promoted = fetch(
                session.db, "SELECT token_id FROM features WHERE layer = ? AND feature = ?", (layer, feature)
            )
            assert promoted == [(output,)]
            step = session.embedding([output])[0] - session.embedding(inputs).mean(axis=0)
            np.testing.assert_allclose(direction, step / np.linalg.norm(step), atol=1e-5)
            answers = session.embedding(inputs) / np.sqrt(np.mean(session.embedding(inputs) ** 2, axis=1))[:, None]
            gate = session.matrix("gate", layer)[feature] * session.norm("ffn_norm", layer)
            assert (np.diff(answers @ gate) <= 1e-5).all()
    finally:
        connection.close()
