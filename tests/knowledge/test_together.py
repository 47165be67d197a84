"""Texts read together give what each gives by itself: on a small model of every family."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.knowledge.evidence import Evidence
from larqldb.knowledge.together import Together
from larqldb.model.activations import ACTIVATIONS
from larqldb.model.norms import unit
from tests.tiny import FAMILIES, write_tiny

SHARED = [5, 6, 7, 8, 9, 10, 11]
TEXTS = [[20, 21, 22], [30], [40, 41, 42, 43, 44, 45], [50, 51]]
TOLERANCE = 2e-4


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def session(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    larqldb.extract(write_tiny(folder / "model", family=request.param), folder / "m.vindex")
    with closing(larqldb.connect(folder / "m.vindex", read_only=True)) as connection:
        yield connection.session


def test_each_text_reads_as_if_alone(session):
    alone = session.runner.logits
    texts = Together(session.runner).begin(SHARED).branch()
    logits, _ = texts.read(dict(enumerate(TEXTS)))
    for row, text in zip(logits, TEXTS, strict=True):
        assert np.abs(row - alone(SHARED + text)).max() < TOLERANCE


def test_some_texts_go_on_and_others_stay(session):
    alone = session.runner.logits
    texts = Together(session.runner).begin(SHARED).branch()
    texts.read(dict(enumerate(TEXTS)))
    logits, _ = texts.read({2: [60], 0: [61, 62]})
    assert np.abs(logits[0] - alone([*SHARED, *TEXTS[2], 60])).max() < TOLERANCE
    assert np.abs(logits[1] - alone([*SHARED, *TEXTS[0], 61, 62])).max() < TOLERANCE
    logits, _ = texts.read({1: [63], 2: [64]})
    assert np.abs(logits[0] - alone([*SHARED, *TEXTS[1], 63])).max() < TOLERANCE
    assert np.abs(logits[1] - alone([*SHARED, *TEXTS[2], 60, 64])).max() < TOLERANCE


def test_a_text_goes_on_from_where_another_was(session):
    alone = session.runner.logits
    texts = Together(session.runner).begin(SHARED).branch()
    texts.read(dict(enumerate(TEXTS)))
    texts.fork(10, 2)
    texts.fork(11, 2)
    logits, _ = texts.read({2: [60], 10: [61], 0: [62], 11: [63]})
    for row, text in zip(logits, ([*TEXTS[2], 60], [*TEXTS[2], 61], [*TEXTS[0], 62], [*TEXTS[2], 63]), strict=True):
        assert np.abs(row - alone(SHARED + text)).max() < TOLERANCE
    logits, _ = texts.read({10: [64], 2: [65]})
    assert np.abs(logits[0] - alone([*SHARED, *TEXTS[2], 61, 64])).max() < TOLERANCE
    assert np.abs(logits[1] - alone([*SHARED, *TEXTS[2], 60, 65])).max() < TOLERANCE


def test_a_beginning_serves_several_branches(session):
    beginning = Together(session.runner).begin(SHARED)
    first, _ = beginning.branch().read({0: [70, 71]})
    second, _ = beginning.branch().read({0: [70, 71]})
    assert np.array_equal(first, second)
    assert beginning.nbytes > 0


def test_texts_may_have_nothing_in_common(session):
    logits, _ = Together(session.runner).begin(()).branch().read(dict(enumerate(TEXTS)))
    for row, text in zip(logits, TEXTS, strict=True):
        assert np.abs(row - session.runner.logits(text)).max() < TOLERANCE


def test_the_logit_that_evidence_is_of(session):
    """Before the cap where there is one, and without what the final norm's bias adds whatever the text."""
    network, evidence = session.network, Evidence(session, 0.0)
    logits, seen = Together(session.runner, evidence.watched).begin(SHARED).branch().read(dict(enumerate(TEXTS)))
    tokens = logits.argmax(axis=1).tolist()
    table, totals = evidence.table(seen, range(len(TEXTS)), tokens)
    assert table.shape == (len(TEXTS), network.layers * (network.ffn + network.heads))
    bias = session.bias("final_norm", None)
    if bias is not None:
        totals = totals + session.store.read_rows("embed", tokens).astype(np.float32) @ bias
    if network.final_softcap:
        totals = network.final_softcap * np.tanh(totals / network.final_softcap)
    assert np.abs(totals - logits.max(axis=1)).max() < 1e-3


def test_evidence_agrees_with_explain_infer(session):
    prompt = "The capital of France is"
    ids = session.tokenizer.encode(prompt)
    evidence = Evidence(session, 0.0)
    logits, seen = Together(session.runner, evidence.watched).begin(()).branch().read({0: ids})
    token, other = np.argsort(-logits[0])[:2].tolist()
    (shares,) = evidence.shares(seen, [0], [token], [other])
    found = dict(zip(shares.parts.tolist(), shares.shares.tolist(), strict=True))
    rows = session.db.execute(
        "SELECT layer, feature, logit FROM explain_infer(?, 10) WHERE feature IS NOT NULL", (prompt,)
    ).fetchall()
    assert rows
    for layer, feature, logit in rows:
        assert found[evidence.parts.number("feature", layer, feature)] == pytest.approx(logit, abs=1e-4)
    heads = session.db.execute(
        "SELECT layer, head, sum(logit) FROM attention_heads(?) WHERE head IS NOT NULL GROUP BY layer, head", (prompt,)
    ).fetchall()
    for layer, head, logit in heads:
        assert found[evidence.parts.number("head", layer, head)] == pytest.approx(logit, abs=1e-4)


def test_texts_with_nothing_in_common_go_on(session):
    alone = session.runner.logits
    texts = Together(session.runner).begin(())
    texts.read(dict(enumerate(TEXTS)))
    logits, _ = texts.read({2: [60], 0: [61, 62]})
    assert np.abs(logits[0] - alone([*TEXTS[2], 60])).max() < TOLERANCE
    assert np.abs(logits[1] - alone([*TEXTS[0], 61, 62])).max() < TOLERANCE


def test_leads_are_derivatives_through_later_ffns(session):
    """A little more or less of a feature, attention and the final norm's scale held: how much the lead changes."""
    network, evidence = session.network, Evidence(session, 0.0)
    ids = session.tokenizer.encode("The capital of France is")
    outputs = tuple(f"layers.{layer}.attention_output" for layer in range(network.layers))
    texts = Together(session.runner, (*evidence.watched, *outputs)).begin(()).branch()
    logits, seen = texts.read({0: ids})
    token, other = np.argsort(-logits[0])[:2].tolist()
    (shares,) = evidence.shares(seen, [0], [token], [other])
    leads = dict(zip(shares.parts.tolist(), shares.leads.tolist(), strict=True))
    result = {name: array[0].astype(np.float64) for name, array in seen.items()}
    towards = (evidence._towards(seen, [0], [token]) - evidence._towards(seen, [0], [other]))[0].astype(np.float64)
    assert shares.lead == pytest.approx(towards @ result[f"layers.{network.layers - 1}.residual"], abs=1e-4)

    def ffn(x, layer, scale):
        """What is after a layer, from what is before its FFN, ``scale`` [ffn] times what its features write."""
        entering = session.entering(x.astype(np.float32), layer)
        found = []
        for role in ("gate", "up") if network.gated else ("gate",):
            product, bias = entering @ session.matrix(role, layer).T, session.bias(role, layer)
            found.append(product if bias is None else product + bias)
        active = ACTIVATIONS[network.activation](found[0]) * (found[1] if network.gated else 1)
        written, bias = (active * scale) @ session.matrix("down", layer), session.bias("down", layer)
        written = written if bias is None else written + bias
        if network.post_norms:
            written = unit(network, written) * session.norm("post_ffn_norm", layer)
        return x + written

    def lead(layer, feature, scale):
        scales = np.ones(network.ffn)
        scales[feature] = scale
        before = result[f"layers.{layer}.residual"] - result[f"layers.{layer}.ffn_output"]
        x = ffn(before, layer, scales)
        for later in range(layer + 1, network.layers):
            x = ffn(x + result[f"layers.{later}.attention_output"], later, np.ones(network.ffn))
        return x @ towards

    largest = max(map(abs, leads.values()))
    for layer in range(network.layers):
        for feature in range(0, network.ffn, 9):
            slope = (lead(layer, feature, 1.05) - lead(layer, feature, 0.95)) / 0.1
            assert leads[evidence.parts.number("feature", layer, feature)] == pytest.approx(slope, abs=0.01 * largest)
