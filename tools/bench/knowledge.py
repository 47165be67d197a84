"""What running a model shows, and how far it can be trusted: edges, their confidence, their evidence, and the speed.

Held-out wordings: each wording of a relation is left out in turn, edges and confidence come from the others, and are
held against what the model answers in the one left out. The relations and wordings are those of LRE (Hernandez et al.,
"Linearity of Relation Decoding in Transformer Language Models", repository evandez/relations, MIT) and ParaRel (Elazar
et al., "Measuring and Improving Consistency in Pretrained Language Models", repository yanaiela/pararel, MIT), read
from ../shared/data where that is there, each after three worked examples of its own; and larqldb's own relations. Two
relations of ParaRel have one wording alone that ends with the answer, so that there is nothing to leave out.

Evidence: the strongest parts of an edge that are said to decide it, at most 32, are zeroed at every position, and so
are as many others of the same layers and kinds, each the most like one of them in the size of what it writes. The
figures are of edges rated one half or more; those of less sure ones, and of the 32 strongest of each edge, are among
the measurements: where a model is in doubt, much changes its answer. The relations are others than those on which the
ranking of parts was chosen (capital, element_symbol, past_tense).

Run it with the paths of vindexes of SmolLM2 and Gemma 3, or without any: it makes them. They are copied, not changed.
With ``--only`` and some of speed, wordings and evidence, only those figures are measured; the others stay as they are.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Figure, in_a_process, model, save

import larqldb
from larqldb.functions.session import Session
from larqldb.knowledge import packs
from larqldb.knowledge.answers import finished, key, matches
from larqldb.knowledge.ask import Answer, Asker, ask_all
from larqldb.knowledge.confidence import fit
from larqldb.knowledge.evidence import Evidence
from larqldb.knowledge.probe import Request, run
from larqldb.knowledge.support import Given, supports
from larqldb.knowledge.together import Together
from larqldb.knowledge.wordings import LONGEST, SLOT, prompt, templates, with_examples
from larqldb.model.interventions import Scale, changed
from larqldb.model.runner import Runner

DATA = ROOT.parent / "shared" / "data"
LRE = (
    "country_capital_city", "country_language", "country_currency", "product_by_company", "person_native_language",
    "substance_phase", "company_hq", "adj_comparative",
)  # fmt: skip
PARAREL = ("P30", "P36", "P37", "P103", "P140", "P176")
OWN = ("antonym", "capital", "continent", "element_symbol", "language", "past_tense")
ENTITIES = 24  # of a relation
PATTERNS = 5  # of a ParaRel relation
EXAMPLES = 3
ZEROED = ("antonym", "comparative", "continent", "currency", "french_name", "language", "plural", "state_capital")
SURE, UNSURE = 60, 30  # edges whose evidence is zeroed
STRONGEST = 32
TIMED = 96  # prompts of the speed figure; a quarter of them one at a time


@dataclass
class Relation:
    """Something to ask: wordings with worked examples, and the right answers of entities."""

    name: str
    wordings: list[str]
    right: dict[str, list[str]]


def relations() -> Iterator[Relation]:
    """What is asked, by data set."""
    rng = np.random.default_rng(7)

    def some(name: str, plain: Sequence[str], facts: Sequence[tuple[str, str]]) -> Relation:
        drawn = [facts[i] for i in rng.permutation(len(facts))]
        worked = [with_examples(wording, drawn[:EXAMPLES]) for wording in plain]
        return Relation(name, worked, {entity: [target] for entity, target in drawn[EXAMPLES : EXAMPLES + ENTITIES]})

    for name in LRE if DATA.exists() else ():
        found = json.loads((DATA / "lre" / f"{name}.json").read_text())
        plain = dict.fromkeys(found["prompt_templates"] + found["prompt_templates_zs"])
        facts = {_unescaped(each["subject"]): _unescaped(each["object"]) for each in found["samples"]}
        yield some(f"LRE {name}", [each.replace("{}", SLOT) for each in plain], list(facts.items()))
    for name in PARAREL if DATA.exists() else ():
        patterns = [row["pattern"] for row in _rows(DATA / "pararel" / "patterns" / f"{name}.jsonl")]
        plain = [
            match[1].replace("[X]", SLOT)
            for each in patterns
            if (match := re.fullmatch(r"(.*\[X\].*) \[Y\] ?\.?", each))
        ]
        facts = {row["sub_label"]: row["obj_label"] for row in _rows(DATA / "pararel" / "triples" / f"{name}.jsonl")}
        relation = some(f"ParaRel {name}", plain[:PATTERNS], list(facts.items()))
        if len(relation.wordings) > 1:  # with its only wording left out nothing is asked
            yield relation
    for pack in packs.builtin():
        if pack.relation in OWN:
            right: dict[str, list[str]] = {}
            for fact in pack.facts:
                right.setdefault(fact.entity, []).extend([fact.target, *fact.aliases])
            names = list(right)
            drawn = [names[i] for i in rng.permutation(len(names))[:ENTITIES]]
            yield Relation(f"own {pack.relation}", templates(pack), {name: right[name] for name in drawn})


def held_out(session: Session) -> dict[str, dict[str, Any]]:
    """By data set: recall of edges, precision of those rated one half or more, calibration error, and how many."""
    asker = Asker(session, evidence=False)
    asked: dict[str, tuple[Relation, dict[str, dict[str, Answer]]]] = {}
    for relation in relations():
        asked[relation.name] = relation, ask_all(session, asker, relation.wordings, list(relation.right))
    seen: dict[str, list[tuple[list[tuple[float, bool, bool]], bool | None]]] = {}
    for name, (relation, answers) in asked.items():
        for left in relation.wordings:
            sure, _ = fit({other: _given(*asked[other], left if other == name else None) for other in asked})
            for entity, given in answers.items():
                found = supports([answer.given for wording, answer in given.items() if wording != left])
                answer = given[left].text
                rated = [
                    (sure.of(support, name), same == key(answer), support.agreement > 0)
                    for same, support in found.items()
                ]
                known = key(answer) in found if matches(answer, relation.right[entity]) else None
                seen.setdefault(name.partition(" ")[0], []).append((rated, known))
    return {name: _summary(entries) for name, entries in seen.items()}


def _given(relation: Relation, answers: dict[str, dict[str, Answer]], without: str | None) -> list[dict[str, Given]]:
    wordings = [wording for wording in relation.wordings if wording != without]
    return [{wording: given[wording].given for wording in wordings} for given in answers.values()]


def _summary(entries: list[tuple[list[tuple[float, bool, bool]], bool | None]]) -> dict[str, Any]:
    """``calibration_error_of_answers`` is that of targets that some wording was answered with, not just came close."""
    edges = np.array([edge for rated, _ in entries for edge in rated])
    known = [found for _, found in entries if found is not None]
    confidence, true, answered = edges.T
    bins, of_answers = (_bins(confidence[some], true[some]) for some in (answered >= 0, answered > 0))
    return {
        "recall": float(np.mean(known)),
        "known": len(known),
        "precision": float(true[confidence >= 0.5].mean()) if (confidence >= 0.5).any() else 0.0,
        "edges_from_half": int((confidence >= 0.5).sum()),
        "calibration_error": _error(bins),
        "calibration_error_of_answers": _error(of_answers),
        "edges": len(edges),
        "answers": int(answered.sum()),
        "bins": bins,
    }


def _bins(confidence: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> list[tuple[float, float, int]]:
    """Ten of them, but for empty ones: mean confidence, share that came true, count."""
    place = np.minimum((confidence * 10).astype(int), 9)
    groups = ((confidence[place == i], true[place == i]) for i in range(10))
    return [(float(sure.mean()), float(came.mean()), len(sure)) for sure, came in groups if len(sure)]


def _error(bins: list[tuple[float, float, int]]) -> float:
    """The expected calibration error."""
    return sum(abs(sure - observed) * count for sure, observed, count in bins) / sum(count for *_, count in bins)


def evidence(path: Path) -> dict[str, Any]:
    """How often zeroing an edge's evidence changes the answer, and zeroing others like it; and how large it is."""
    rng = np.random.default_rng(7)
    requests = []
    for pack in packs.builtin():
        if pack.relation in ZEROED:
            names = list(dict.fromkeys(fact.entity for fact in pack.facts))
            drawn = {names[i] for i in rng.permutation(len(names))[:ENTITIES]}
            request = Request.of_pack(pack)
            facts = tuple(fact for fact in pack.facts if fact.entity in drawn)
            requests.append(Request(request.relation, default_templates=request.default_templates, facts=facts))
    run(path, requests)
    with closing(larqldb.connect(path, cache_mb=1024)) as connection:
        edges = connection.execute(
            "SELECT edge_id, relation, entity, target, confidence, decisive FROM edge_records "
            "WHERE source = 'probe' AND confidence >= 0.1 AND agreement > 0 ORDER BY relation, entity, target"
        ).fetchall()
        zeroing, outcomes = _Zeroing(connection), []
        for *edge, confidence, decisive in (edges[i] for i in _some(rng, [edge[4] >= 0.5 for edge in edges])):
            outcome = zeroing.of(*edge, decisive or STRONGEST)
            if outcome is not None:
                outcomes.append((confidence, decisive or STRONGEST, *outcome))
        ((size,),) = connection.execute("SELECT sum(pgsize) FROM dbstat WHERE name LIKE 'edge_evidence%'")
        ((rows, all_edges),) = connection.execute(
            "SELECT (SELECT count(*) FROM edge_evidence), count(*) FROM edge_records WHERE source = 'probe'"
        )
    table = np.array(outcomes)
    sure = table[:, 0] >= 0.5
    names = ("decisive", "changed", "others_changed", f"changed_{STRONGEST}", f"others_changed_{STRONGEST}")
    found: dict[str, Any] = {"rows_an_edge": rows / all_edges, "bytes_an_edge": size / all_edges}
    for group, those in (("sure", sure), ("unsure", ~sure)):
        means = table[those, 1:].mean(axis=0).tolist()
        found[group] = {"edges": int(those.sum()), **dict(zip(names, means, strict=True))}
    return found


def _some(rng: np.random.Generator, sure: list[bool]) -> list[int]:
    """Edges to look at, sure ones first."""
    groups = (np.flatnonzero(np.array(sure) == wanted) for wanted in (True, False))
    drawn = (rng.permutation(group)[:count] for group, count in zip(groups, (SURE, UNSURE), strict=True))
    return [int(place) for group in drawn for place in group]


class _Zeroing:
    """Answers of a network without some of its features and heads."""

    def __init__(self, connection: larqldb.Connection) -> None:
        self.connection, self.session = connection, connection.session
        self.evidence = Evidence(self.session, 0)
        self.together = Together(self.session.runner, self.evidence.watched)
        network = self.session.network
        self.widths = {
            f"layers.{layer}.{kind}": width
            for layer in range(network.layers)
            for kind, width in (("activations", network.ffn), ("heads", network.heads * network.head_dim))
        }
        scales = [Scale(name, np.ones(width, np.float32)) for name, width in self.widths.items()]
        self.runner = changed(self.session.runner, scales)  # one graph for all: making it takes longer than an answer
        added = [name for name in self.runner.weights if name not in self.session.runner.weights]
        self.inputs = dict(zip(self.widths, added, strict=True))

    def of(self, edge: int, relation: str, entity: str, target: str, decisive: int) -> list[bool] | None:
        """Whether the answer changes without the decisive evidence, others like it, the strongest, and others.

        None where the answer is another one already: the model is undecided, and so close that rounding decides.
        """
        rows = self.connection.execute(
            "SELECT template, answer FROM probes WHERE relation = ? AND entity = ? ORDER BY probability DESC",
            (relation, entity),
        ).fetchall()
        wording = next(template for template, answer in rows if key(answer) == key(target))
        ids = self.session.tokenizer.encode(prompt(wording, entity))
        strongest = [
            self.evidence.parts.number(*row)
            for row in self.connection.execute(
                "SELECT kind, layer, number FROM edge_evidence WHERE edge_id = ? ORDER BY rank LIMIT ?",
                (edge, STRONGEST),
            )
        ]
        before = self.answer(self.session.runner, ids)
        if key(before) != key(target):
            return None
        _, seen = self.together.begin(()).read({0: ids})
        sizes = self.evidence.sizes(seen, [0])[0]
        zeroed = [
            numbers for chosen in (strongest[:decisive], strongest) for numbers in (chosen, self._others(sizes, chosen))
        ]
        return [key(self.answer(self._without(numbers), ids)) != key(before) for numbers in zeroed]

    def _others(self, sizes: np.ndarray[Any, Any], chosen: list[int]) -> list[int]:
        parts, taken, found = self.evidence.parts, set(chosen), []
        for number in chosen:
            kind, layer, _ = parts.read(number)
            first = parts.number(kind, layer, 0)
            count = parts.features if kind == "feature" else parts.heads
            order = first + np.argsort(np.abs(sizes[first : first + count] - sizes[number]), kind="stable")
            match = next((int(other) for other in order if int(other) not in taken), None)
            if match is not None:
                taken.add(match)
                found.append(match)
        return found

    def _without(self, numbers: list[int]) -> Runner:
        network, factors = self.session.network, {}
        for kind, layer, index in map(self.evidence.parts.read, numbers):
            name = f"layers.{layer}.{'activations' if kind == 'feature' else 'heads'}"
            row = factors.setdefault(name, np.ones(self.widths[name], np.float32))
            row.reshape(network.ffn if kind == "feature" else network.heads, -1)[index] = 0
        return self.runner.given({self.inputs[name]: row for name, row in factors.items()})

    def answer(self, runner: Runner, ids: list[int]) -> str:
        """The greedy answer, one token after the other."""
        made, decoder, step = list[int](), runner.decoder(), ids
        while len(made) < LONGEST:
            token = int(decoder.read(step).argmax())
            if token in self.session.end_of_text:
                return finished(self.session.tokenizer.decode(made) + "\n") or ""
            made.append(token)
            step = [token]
            if (text := finished(self.session.tokenizer.decode(made))) is not None:
                return text
        return ""


def speed(connection: larqldb.Connection) -> dict[str, Any]:
    """Whole answers by the second, many at a time with their evidence, and by one INFER after the other."""
    session = connection.session
    pack = next(pack for pack in packs.builtin() if pack.relation == "capital")
    entities = list(dict.fromkeys(fact.entity for fact in pack.facts))[:TIMED]
    wording = templates(pack)[0]
    asker = Asker(session)
    asker.answers([session.tokenizer.encode(prompt(wording, entities[0]))])
    _by_infer(connection, prompt(wording, entities[0]))
    start = time.perf_counter()
    answers = ask_all(session, asker, [wording], entities)
    middle = time.perf_counter()
    single = [_by_infer(connection, prompt(wording, entity)) for entity in entities[: TIMED // 4]]
    end = time.perf_counter()
    together = [answers[entity][wording].text for entity in entities]
    return {
        "prompts": len(entities), "facts_per_second": len(entities) / (middle - start),
        "infer_facts_per_second": len(single) / (end - middle),
        "same_answers": float(np.mean([key(a) == key(b) for a, b in zip(together, single, strict=False)])),
    }  # fmt: skip


def _by_infer(connection: larqldb.Connection, text: str) -> str:
    made = ""
    for _ in range(LONGEST):
        token, token_id = connection.execute("SELECT token, token_id FROM infer(?, 1)", (text + made,)).fetchone()
        made += "\n" if token_id in connection.session.end_of_text else token
        if (answer := finished(made)) is not None:
            return answer
    return ""


def figures_of_speed(title: str, path: Path) -> Iterator[Figure]:
    """How fast a model is asked."""
    with closing(larqldb.connect(path, cache_mb=1024)) as connection:
        timed = speed(connection)
    ratio = timed["facts_per_second"] / timed["infer_facts_per_second"]
    yield Figure(
        f"{title}: facts probed a second, over one INFER after the other", ratio, "times", "≥ 4, go for 10", timed
    )


def figures_of_wordings(title: str, path: Path) -> Iterator[Figure]:
    """What edges say of a wording left out."""
    with closing(larqldb.connect(path, cache_mb=1024)) as connection:
        found = held_out(connection.session)
    for name, data in (("LRE", "LRE relations"), ("ParaRel", "ParaRel relations"), ("own", "built-in relations")):
        if name not in found:
            continue
        each = found[name]
        yield Figure(
            f"{title}, {data}, wording left out: facts it answers right that are an edge", each["recall"], "share",
            "≥ 0.95, go for 0.99", each,
        )  # fmt: skip
        yield Figure(
            f"{title}, {data}, wording left out: edges rated 0.5 or more that are its answer", each["precision"],
            "share", "≥ 0.9, go for 0.97",
        )  # fmt: skip
        yield Figure(f"{title}, {data}: expected calibration error", each["calibration_error"], "share", "≤ 0.1")


def figures_of_evidence(title: str, path: Path) -> Iterator[Figure]:
    """What becomes of answers without their evidence."""
    zeroed = evidence(path)
    yield Figure(
        f"{title}: edges rated 0.5 or more whose answer changes without the parts that decide it (at most {STRONGEST})",
        zeroed["sure"]["changed"], "share",
        "≥ 0.8, go for 0.95", zeroed,
    )  # fmt: skip
    yield Figure(
        f"{title}: edges rated 0.5 or more whose answer changes without others like those",
        zeroed["sure"]["others_changed"], "share",
        "≤ 0.1, go for 0.03",
    )  # fmt: skip


MODELS = {"SmolLM2": "smollm2", "Gemma 3": "gemma3"}
PARTS = {"speed": figures_of_speed, "wordings": figures_of_wordings, "evidence": figures_of_evidence}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def _unescaped(text: str) -> str:
    """Some names come with their escapes escaped."""
    return str(json.loads(f'"{text}"')) if "\\u" in text else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vindexes", nargs="*", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for (title, name), given in zip(MODELS.items(), chosen.vindexes or [None] * len(MODELS), strict=False):
            path = Path(folder) / f"{name}.vindex"
            if given:
                shutil.copyfile(given, path)
            else:
                in_a_process("import sys, larqldb; larqldb.extract(*sys.argv[1:]); result = {}", model(name), path)
            for part in chosen.only:
                found += PARTS[part](title, path)
            path.unlink()
    save(__file__, found, keep=True)


if __name__ == "__main__":
    main()
