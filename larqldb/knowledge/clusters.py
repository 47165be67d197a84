"""Features that do alike: clusters of the step from what a feature answers to, to what it promotes.

A feature of the knowledge band whose first token is a whole word is the direction

    z = normalise(E[token it promotes] − mean of E[words its gate answers to most])

with E the input embedding: features that turn countries into their capitals step alike, if not from the same place. The
directions are put into k clusters by spherical k-means (Dhillon and Modha, Concept Decompositions for Large Sparse Text
Data Using Clustering, 2001, https://doi.org/10.1023/A:1007612920971). How close a feature comes to a centre by chance
is measured on the same numbers with every coordinate shuffled over the features; who comes no closer is not labelled.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np

from larqldb.extract.top_tokens import TopTokens
from larqldb.extract.words import is_word
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import as_float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.session import Session

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]

PREFIX = "cluster:"
SEED = 0
MOST = 512  # clusters
LEAST = 16  # features to a cluster, on average
MEMBERS = 4  # features that make a cluster
ROUNDS = 20
WORDS = 1 << 13  # of the vocabulary, its first and so most frequent ones, that gates are held against
INPUTS = 3  # of them that a feature answers to
CHANCE = 0.99  # quantile of the cosines of shuffled coordinates
NAMES = 3  # words in a cluster's name


@dataclass(frozen=True)
class Steps:
    """Features as steps: ``places`` [n, 2] layer and feature, ``inputs`` [n, INPUTS] and ``outputs`` [n] token ids.

    ``directions`` float32 [n, hidden] have length 1.
    """

    places: Integers
    inputs: Integers
    outputs: Integers
    directions: Floats


@dataclass(frozen=True)
class Clusters:
    """``cluster`` [n] of each step, -1 where it is no closer to a centre than chance; ``cosines`` [n] to the centre.

    ``count`` is how many clusters were made, ``chance`` the cosine that has to be passed.
    """

    cluster: Integers
    cosines: Floats
    count: int
    chance: float


def steps(session: Session, texts: Sequence[str], special: Iterable[int]) -> Steps:
    """The features of the knowledge band that promote a word; ``texts`` is what each token adds to a text.

    Raises MissingPart where the vindex does not hold the gates.
    """
    left_out = set(special)
    known = np.array([i for i, text in enumerate(texts) if i not in left_out and _is_whole(text)][:WORDS], np.int64)
    places, inputs, outputs = [np.empty((0, 2), np.int64)], [np.empty((0, INPUTS), np.int64)], [np.empty(0, np.int64)]
    if len(known) >= INPUTS:
        words = session.embedding(known.tolist())
        words /= np.maximum(np.sqrt(np.mean(np.square(words), axis=1, keepdims=True)), 1e-12)
        search = TopTokens(words, INPUTS)
        for layer in _knowledge(session):
            tokens = fetch(
                session.db, "SELECT feature, token_id FROM features WHERE layer = ? ORDER BY feature", (layer,)
            )
            chosen = np.array([row for row in tokens if _is_whole(texts[row[1]])], np.int64).reshape(-1, 2)
            gates = session.matrix("gate", layer)[chosen[:, 0]] * session.norm("ffn_norm", layer)
            found, _ = search.search(gates)
            places.append(np.column_stack([np.full(len(chosen), layer), chosen[:, 0]]))
            inputs.append(known[found])
            outputs.append(chosen[:, 1])
    read, written = np.concatenate(inputs), np.concatenate(outputs)
    return Steps(np.concatenate(places), read, written, _directions(session, read, written))


def clusters(directions: Floats, seed: int = SEED) -> Clusters:
    """Put directions [n, hidden] into clusters: the same ones for the same numbers and seed."""
    n = len(directions)
    count = min(MOST, n // LEAST)
    if count < 2:
        return Clusters(np.full(n, -1), np.zeros(n, np.float32), 0, 1.0)
    cluster, cosines = spherical_kmeans(directions, count, seed)
    shuffled = np.random.default_rng(seed).permuted(directions, axis=0)
    shuffled /= np.maximum(np.linalg.norm(shuffled, axis=1, keepdims=True), 1e-12)
    by_chance, reached = spherical_kmeans(shuffled, count, seed)
    reached = reached[np.bincount(by_chance, minlength=count)[by_chance] >= MEMBERS]
    least = float(np.quantile(reached, CHANCE)) if len(reached) else 1.0
    cluster[cosines <= least] = -1
    members = np.bincount(cluster[cluster >= 0], minlength=count)
    cluster[(cluster >= 0) & (members[cluster] < MEMBERS)] = -1
    return Clusters(cluster, cosines, count, least)


def spherical_kmeans(points: Floats, k: int, seed: int) -> tuple[Integers, Floats]:
    """The cluster of each of ``points`` [n, hidden], which have length 1, and its cosine to the centre: [n] each.

    It starts from ``k`` of the points; a cluster that runs empty starts again from the point farthest from its centre.
    """
    rows = np.arange(len(points))
    centres = points[np.sort(np.random.default_rng(seed).choice(len(points), k, replace=False))]
    cluster = np.full(len(points), -1)
    for _ in range(ROUNDS):
        products = points @ centres.T
        nearest = products.argmax(axis=1)
        cosines = products[rows, nearest]
        if np.array_equal(nearest, cluster):
            break
        cluster = nearest
        order, members = np.argsort(cluster, kind="stable"), np.bincount(cluster, minlength=k)
        starts = np.minimum(np.cumsum(members) - members, len(points) - 1)
        centres = np.add.reduceat(points[order], starts, axis=0)
        empty = np.flatnonzero(members == 0)
        centres[empty] = points[np.argsort(cosines, kind="stable")[: len(empty)]]
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    return cluster, cosines


def names(
    found: Clusters, made: Steps, texts: Sequence[str], facts: Mapping[tuple[str, int], set[tuple[str, str]]]
) -> dict[int, str]:
    """What each cluster is called: the relation whose facts it hits, else ``cluster:`` and its most telling words.

    ``facts`` are the facts (relation, target) that an entity, in lower case, and the first token of a target belong
    to. A relation is hit by two facts or more, and by twice as many as any other.
    """
    hits: defaultdict[int, defaultdict[str, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))
    words: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for cluster, inputs, output in zip(
        found.cluster.tolist(), made.inputs.tolist(), made.outputs.tolist(), strict=True
    ):
        if cluster < 0:
            continue
        words[cluster][texts[output].strip().casefold()] += 1
        for word in {texts[token].strip().casefold() for token in inputs}:
            for relation, target in facts.get((word, output), ()):
                hits[cluster][relation].add((word, target))
    common = Counter(word for counted in words.values() for word in counted)
    named: dict[int, str] = {}
    taken: set[str] = set()
    for cluster, counted in sorted(words.items()):
        ranked = sorted(((len(pairs), relation) for relation, pairs in hits[cluster].items()), reverse=True)
        if ranked and ranked[0][0] >= 2 and (len(ranked) == 1 or ranked[0][0] >= 2 * ranked[1][0]):
            named[cluster] = ranked[0][1]
            continue
        telling = sorted(counted, key=lambda word: (-counted[word] * log(1 + len(words) / common[word]), word))
        name = PREFIX + "/".join(telling[:NAMES])
        more = NAMES
        while name in taken:  # two clusters of the same words: some more of them, or a number, tell them apart
            more += 1
            name = PREFIX + "/".join(telling[:more]) + ("" if more <= len(telling) else f"/{more - len(telling) + 1}")
        taken.add(name)
        named[cluster] = name
    return named


def _knowledge(session: Session) -> list[int]:
    rows = fetch(session.db, "SELECT layer FROM layers WHERE band = 'knowledge' ORDER BY layer")
    return [layer for (layer,) in rows]


def _is_whole(text: str) -> bool:
    """Whether a token is a whole word, not a part of one: it begins with a space, or its script writes none."""
    word = text.strip()
    return len(word) >= 2 and is_word(text) and (text[0] == " " or not (word[0].isupper() or word[0].islower()))


def _directions(session: Session, inputs: Integers, outputs: Integers) -> Floats:
    """The steps' directions [n, hidden]."""
    ids, place = np.unique(np.concatenate([outputs, inputs.reshape(-1)]), return_inverse=True)
    embedding = as_float32(session.store.read_rows("embed", ids.tolist()))
    made = embedding[place[: len(outputs)]]
    made -= embedding[place[len(outputs) :].reshape(inputs.shape)].mean(axis=1)
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-12)
    return made
