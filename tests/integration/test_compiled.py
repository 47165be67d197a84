"""A fact inserted into a real model, compiled to GGUF and asked of llama.cpp: it says the fact, and what it knew."""

from __future__ import annotations

import shutil
from contextlib import closing

import pytest

import larqldb
from larqldb.extract.sources import open_source
from larqldb.model.observe import log_probabilities
from tests.compile.llama import Llama
from tests.compile.making import divergence

ATLANTIS, FRANCE = "The capital of Atlantis is", "The capital of France is"
TEXTS = (ATLANTIS, FRANCE, "Once upon a time, in a small village by the sea,", "def mean(values):\n    return")
MODELS = ("smollm2", "gemma3")


@pytest.fixture(scope="module", params=MODELS)
def edited(request, tmp_path_factory):
    """A connection to a real model that was told the capital of Atlantis."""
    path = tmp_path_factory.mktemp("edited") / "m.vindex"
    shutil.copy(request.getfixturevalue(f"{request.param}_vindex"), path)
    with closing(larqldb.connect(path)) as connection:
        connection.reports = False
        fact = ("Atlantis", "capital", "Poseidon")
        connection.execute("INSERT INTO EDGES (entity, relation, target) VALUES (?, ?, ?)", fact)
        connection.commit()
        connection.reports = True
        yield connection


@pytest.mark.parametrize(("quant", "limit"), [("F16", 1e-3), ("Q8_0", 0.01)])
def test_llama_cpp_answers_with_the_inserted_fact(edited, tmp_path, quant, limit):
    rows = edited.execute(f"COMPILE CURRENT INTO MODEL ? QUANT {quant}", (str(tmp_path / "m.gguf"),)).fetchall()
    (fact,) = [row for row in rows if row[0] == "fact"]
    assert fact[:3] == ("fact", "Atlantis capital Poseidon", 1)
    assert fact[4] > 0.5
    llama = Llama(tmp_path / "m.gguf")
    assert llama.continued(ATLANTIS, 4).startswith(" Poseidon")
    (known,) = edited.execute("SELECT token FROM infer(?, 1)", (FRANCE,)).fetchall()  # Paris, or what Gemma begins with
    assert llama.continued(FRANCE, 2).startswith(known[0])
    session, found = edited.session, []
    for text in TEXTS:
        ids = session.tokenizer.encode(text)
        assert llama.count(text) == len(ids)
        live = log_probabilities(session.runner.logits(ids))[None]
        found.append(divergence(live, llama.logs(ids, session.network.vocab)[None]))
    assert sum(found) / len(found) < limit, found


def test_a_gguf_model_comes_back_as_it_was(request, tmp_path, cache):
    """GGUF → vindex → GGUF: the numbers are equal but for the types, the tokens and their merges are the same."""
    for name in MODELS:
        with closing(larqldb.connect(request.getfixturevalue(f"{name}_vindex"), read_only=True)) as connection:
            connection.execute("COMPILE CURRENT INTO MODEL ?", (str(tmp_path / f"{name}.gguf"),))
            store = connection.session.store
            tensors = {tensor.name: tensor for tensor in store.tensors()}
            with open_source(tmp_path / f"{name}.gguf") as source:
                assert source.tensors.keys() == tensors.keys()
                for read in list(tensors)[:: len(tensors) // 12]:
                    assert (source.read(read) == store.read(tensors[read])).all(), read
                before = connection.session.files("tokenizer.json", "tokenizer_config.json", "generation_config.json")
                assert {file: source.files[file] for file in before} == before
