"""Other ways of editing on the trials that larqldb is measured on: ROME, MEMIT, and the reference system's two.

The reference's formulas are those its documentation gives. KNN: the FFN input at the end of "The {relation} of {entity}
is" at one layer is the key; where a cosine exceeds 0.75, the target's first token replaces whatever comes. COMPOSE: one
slot at one layer takes g = 30·ĝ·r̂, u = û·r̂, d = α·d̂·t̂ (norms: medians over the layer; r̂ the input there with what it
shares with inputs on other entities taken out, t̂ the target's embedding), α searched until 0.30 ≤ p ≤ 0.95.

ROME and MEMIT get what INSERT gets: some of the wordings, on weights taken out of the same vindex. Their second moments
are over text that the model makes up and sentences of the relation packs. torch computes them in a process of its own
(``edits_torch.py``); measured they are here, by the same code.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from larqldb.edit.evaluate import Measure, Result, Tally
from larqldb.edit.evaluate_network import Network
from larqldb.edit.evaluate_trials import Trial
from larqldb.functions.session import Session
from larqldb.knowledge import packs
from larqldb.knowledge.together import Together
from larqldb.knowledge.wordings import prompt
from larqldb.model import graph
from larqldb.model.edited import AddedFeature, Edits, edited
from larqldb.model.runner import Runner

Floats = NDArray[np.float32]
SCRIPT = Path(__file__).with_name("edits_torch.py")
BEGINNINGS = (
    "The",
    "In",
    "It",
    "When",
    "He",
    "She",
    "We",
    "For",
    "To",
    "What",
    "How",
    "There",
    "If",
    "My",
    "At",
    "One",
)
OWN_TEXTS, LENGTH = 96, 64  # the model's own, in tokens
SENTENCES = 1500  # of the packs
LEAST_COSINE = 0.75
ALPHAS = 0.05 * 2.0 ** np.arange(0, 9, 0.5)
LOW, HIGH = 0.30, 0.95
DECOYS = 10
CHUNK = 32


# ROME and MEMIT


def dump_weights(session: Session, path: Path) -> None:
    """A Llama's weights as ``edits_torch`` wants them."""
    network, weights = session.network, session.base_runner.weights
    roles = {"attn_norm": "attn_norm", "attn_q": "q", "attn_k": "k", "attn_v": "v", "attn_o": "o"}
    roles |= {each: each for each in ("ffn_norm", "gate", "up", "down")}
    arrays: dict[str, Any] = {
        "embed": weights["embed"].numpy(), "head": session.head, "final_norm": weights["final_norm"].numpy(),
    }  # fmt: skip
    for layer in range(network.layers):
        for role, name in roles.items():
            array = weights[graph.weight_name(role, layer)].numpy()
            arrays[f"{layer}.{name}"] = array.T.copy() if role == "down" else array
    settings = {
        "layers": network.layers, "head_dim": network.head_dim, "eps": network.norm_eps,
        "theta": network.rotaries[0].theta,
    }  # fmt: skip
    np.savez(path, settings=json.dumps(settings), **arrays)


def background(session: Session) -> list[list[int]]:
    """Texts for second moments, as token ids."""
    rng = np.random.default_rng(0)
    made = [session.tokenizer.encode(BEGINNINGS[i % len(BEGINNINGS)]) for i in range(OWN_TEXTS)]
    together = Together(session.base_runner)
    for first in range(0, OWN_TEXTS, CHUNK):
        texts, some = together.begin(()), made[first : first + CHUNK]
        step: dict[int, Sequence[int]] = dict(enumerate(some))
        for _ in range(LENGTH):
            logits, _ = texts.read(step)
            noise = rng.gumbel(size=logits.shape).astype(np.float32)
            chosen = (np.where(logits < np.partition(logits, -50)[:, -50:-49], -np.inf, logits) + noise).argmax(axis=1)
            step = {i: [int(token)] for i, token in enumerate(chosen)}
            for ids, token in zip(some, chosen, strict=True):
                ids.append(int(token))
    facts = [(pack, fact) for pack in packs.builtin() for fact in pack.facts]
    for pack, fact in random.Random(0).sample(facts, SENTENCES):
        wording = pack.wordings[len(made) % len(pack.wordings)]
        made.append(session.tokenizer.encode(f"{prompt(wording, fact.entity)} {fact.target}."))
    return made


def requests(session: Session, trials: Sequence[Trial], texts: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Trials as token ids: the canonical wording alone and after a text of the model's own, and one other wording."""
    encode, found = session.tokenizer.encode, []
    for number, trial in enumerate(trials):
        entity, target = trial.fact.entity, encode(f" {trial.fact.target}", special=False)
        before = session.tokenizer.decode(list(texts[number % OWN_TEXTS])[:10]).replace("\n", " ").strip()
        asked = [trial.seen[0], f"{before}. {trial.seen[0]}", *trial.seen[1:2]]
        sequences = []
        for text in asked:
            ids, upto = encode(text), encode(text[: text.rindex(entity) + len(entity)])
            sequences.append([[*ids, *target], len(upto) - 1, len(target)])
        calm = encode(entity)
        found.append({"sequences": sequences, "kl": [[*calm, *encode(" is a", special=False)], len(calm) - 1]})
    return found


def by_gradients(
    python: str, folder: Path, session: Session, trials: Sequence[Trial], *, layers: Sequence[int], single: int,
    sizes: Sequence[int], weights: Sequence[float],
) -> Any:  # fmt: skip
    """What ``edits_torch`` finds for trials; ``python`` is one that has torch."""
    arrays, asked, out = folder / "weights.npz", folder / "requests.json", folder / "edits.npz"
    texts = background(session)
    dump_weights(session, arrays)
    given = {
        "facts": requests(session, trials, texts), "texts": texts, "layers": list(layers), "single": single,
        "sizes": list(sizes), "weights": list(weights),
    }  # fmt: skip
    asked.write_text(json.dumps(given))
    subprocess.run([python, str(SCRIPT), str(arrays), str(asked), str(out)], check=True)
    found = np.load(out)
    expected = session.base_runner.logits(texts[0])
    difference = found["check"] - (expected - expected.max())
    assert np.abs(difference - difference.mean()).max() < 1e-2, "the two forward passes differ"
    return found


def with_down(runner: Runner, changes: dict[int, Floats]) -> Runner:
    """A runner with something [hidden, ffn] added to down_proj, by layer."""
    names = {layer: graph.weight_name("down", layer) for layer in changes}
    return runner.given(
        {names[layer]: np.ascontiguousarray(runner.weights[names[layer]].numpy() + change.T, np.float32)
         for layer, change in changes.items()}
    )  # fmt: skip


def rome_runners(runner: Runner, found: Any, layer: int) -> Iterator[Runner]:
    for left, right in zip(found[f"rome.{layer}.left"], found[f"rome.{layer}.right"], strict=True):
        yield with_down(runner, {layer: np.outer(left, right)})


def memit_runner(runner: Runner, found: Any, layer: int, size: int, weight: float) -> Runner:
    start = f"memit.{layer}.{size}.{weight:g}."
    return with_down(
        runner, {int(name.removeprefix(start)): found[name] for name in found.files if name.startswith(start)}
    )


# The reference system


def canonical(trial: Trial) -> str:
    return f"The {trial.fact.relation.replace('_', ' ')} of {trial.fact.entity} is"


def knn_runner(session: Session, trials: Sequence[Trial], layer: int) -> Runner:
    """Answers replaced where the FFN input is near a key."""
    keys = _inputs(session, [canonical(trial) for trial in trials], layer)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    tokens = np.zeros((len(trials), session.network.vocab), np.float32)
    tokens[np.arange(len(trials)), [_first(session, trial) for trial in trials]] = 1e4

    def alter(model: Any) -> None:
        from onnx import TensorProto, helper, numpy_helper

        made = model.graph
        for name, array in (("knn.keys", keys.T.copy()), ("knn.tokens", tokens)):
            made.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, array.shape[1]]))
        made.initializer.extend([
            numpy_helper.from_array(np.array([2]), "knn.axis"), numpy_helper.from_array(np.array([-1]), "knn.last"),
            numpy_helper.from_array(np.float32(LEAST_COSINE), "knn.least"),
        ])  # fmt: skip
        place = next(i for i, node in enumerate(made.node) if "logits" in node.output)
        made.node[place].output[0] = "knn.before"
        nodes = [
            ("Unsqueeze", ["wanted", "knn.axis"], "knn.places", {}),
            ("GatherND", [f"layers.{layer}.ffn_input", "knn.places"], "knn.x", {"batch_dims": 1}),
            ("ReduceL2", ["knn.x", "knn.last"], "knn.size", {}),
            ("MatMul", ["knn.x", "knn.keys"], "knn.products", {}),
            ("Div", ["knn.products", "knn.size"], "knn.cosines", {}),
            ("ReduceMax", ["knn.cosines", "knn.last"], "knn.most", {}),
            ("Equal", ["knn.cosines", "knn.most"], "knn.is_most", {}),
            ("Greater", ["knn.cosines", "knn.least"], "knn.is_near", {}),
            ("And", ["knn.is_most", "knn.is_near"], "knn.hit", {}),
            ("Cast", ["knn.hit"], "knn.taken", {"to": TensorProto.FLOAT}),
            ("MatMul", ["knn.taken", "knn.tokens"], "knn.more", {}),
            ("Add", ["knn.before", "knn.more"], "logits", {}),
        ]
        for kind, inputs, output, attributes in nodes:
            place += 1
            made.node.insert(place, helper.make_node(kind, inputs, [output], **attributes))

    return session.base_runner.changed(alter, {"knn.keys": keys.T.copy(), "knn.tokens": tokens})


def compose_runner(session: Session, trials: Sequence[Trial], layer: int) -> Runner:
    """A feature for each fact in place of the layer's weakest, one after the other."""
    gates, ups, downs = (session.matrix(role, layer) for role in ("gate", "up", "down"))
    sizes = [np.linalg.norm(matrix, axis=1) for matrix in (gates, ups, downs)]
    g_norm, u_norm, d_norm = (float(np.median(size)) for size in sizes)
    weakest = np.argsort(sizes[0] * sizes[2], kind="stable")
    edits = Edits()
    for number, trial in enumerate(trials):
        r = _inputs(session, [canonical(trial)], layer)[0]
        decoys = [name.replace(trial.fact.entity, other) for name in [canonical(trial)] for other in _others(trial)]
        q, _ = np.linalg.qr(_inputs(session, decoys, layer).T)
        r = r - q @ (q.T @ r)
        r /= np.linalg.norm(r)
        token = _first(session, trial)
        t = session.embedding([token])[0]
        t /= np.linalg.norm(t)
        removed = (*edits.removed, (layer, int(weakest[number])))
        ids = session.tokenizer.encode(canonical(trial))

        def with_alpha(
            alpha: float, removed: Any = removed, r: Floats = r, t: Floats = t, before: Edits = edits
        ) -> Edits:
            feature = AddedFeature(layer, 30 * g_norm * r, u_norm * r, np.float32(alpha * d_norm) * t)
            return Edits((*before.added, feature), removed, ())

        best = with_alpha(float(ALPHAS[0]))
        for alpha in ALPHAS:
            tried = with_alpha(float(alpha))
            logits = edited(session.base_runner, tried).logits(ids).astype(np.float64)
            p = float(np.exp(logits[token] - logits.max()) / np.exp(logits - logits.max()).sum())
            if p > HIGH:
                break
            best = tried
            if p >= LOW:
                break
        edits = best
    return edited(session.base_runner, edits)


def _others(trial: Trial) -> list[str]:
    pack = next(pack for pack in packs.builtin() if pack.relation == trial.fact.relation)
    names = [fact.entity for fact in pack.facts if fact.entity != trial.fact.entity]
    return random.Random(trial.fact.entity).sample(names, DECOYS)


def _inputs(session: Session, texts: Sequence[str], layer: int) -> Floats:
    """FFN inputs at the end of texts: [n, hidden]."""
    name = f"layers.{layer}.ffn_input"
    looking = session.base_runner.changed(lambda _: None, {}, expose=[name])
    return np.stack([looking.observe(session.tokenizer.encode(text))[name][-1] for text in texts])


def _first(session: Session, trial: Trial) -> int:
    return session.tokenizer.encode(f" {trial.fact.target}", special=False)[0]


# Measuring


def measured(
    session: Session, measure: Measure, name: str, runners: Iterator[tuple[Runner, Sequence[Trial]]]
) -> tuple[Result, Tally]:
    """One result over several states of the network, each with the trials it is about."""
    tally = Tally()
    for number, (runner, some) in enumerate(runners):
        network = Network(runner, session.tokenizer, session.end_of_text)
        measure.look(network, some, tally, part=number if len(some) == 1 else None)
    return tally.result(name, []), tally
