"""GGUF files: read back by larqldb and by the gguf package, and run by llama.cpp, on a small model of every family."""

from __future__ import annotations

import json
import struct
from contextlib import closing
from dataclasses import replace

import gguf
import numpy as np
import pytest

import larqldb
from larqldb.compile.gguf_metadata import architecture
from larqldb.compile.gguf_tokenizer import read_vocabulary
from larqldb.compile.model_files import compile_model
from larqldb.compile.sentencepiece import pieces
from larqldb.errors import BadModelFile, CannotCompile
from larqldb.extract.sources import open_source
from larqldb.extract.sources.gguf_pretokenizers import PRE_TOKENIZERS
from larqldb.model.architectures import resolve
from larqldb.model.tokenizer import Tokenizer
from tests.compile.llama import Llama
from tests.compile.making import LAST, OWN, add, divergence, remove
from tests.tiny import FAMILIES, tokenizer, write_tiny

PROMPT = "The capital of France is Paris and Mozart"
PLAIN = {"gemma2": {"query_pre_attn_scalar": 8}, "gemma3": {"query_pre_attn_scalar": 8}}  # what llama.cpp computes
WIDER = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 8, "num_key_value_heads": 2}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def edited(request, tmp_path_factory):
    """(vindex, GGUF of it, token ids, live logits [positions, vocab]) of a family, with edits."""
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    write_tiny(folder / "model", family=name, dtype=np.float32, **PLAIN.get(name, {}))
    larqldb.extract(folder / "model", folder / "m.vindex")
    with closing(larqldb.connect(folder / "m.vindex")) as conn:
        add(conn, LAST, OWN, seed=1)
        add(conn, 0, OWN, seed=2)
        remove(conn, 1, 7)
        conn.execute("COMPILE CURRENT INTO MODEL ?", (str(folder / "m.gguf"),))
        conn.commit()
        ids = conn.session.tokenizer.encode(PROMPT)
        yield folder / "m.vindex", folder / "m.gguf", ids, conn.session.runner.all_logits(ids)


def test_larqldb_reads_the_same_model_back(edited, tmp_path):
    path, file, ids, live = edited
    larqldb.extract(file, tmp_path / "again.vindex")
    with closing(larqldb.connect(tmp_path / "again.vindex", read_only=True)) as again:
        assert again.session.tokenizer.encode(PROMPT) == ids
        if "mistral" in path.parent.name:  # GGUF has no windows for it
            live, ids = live[:7], ids[:7]
        assert divergence(live, again.session.runner.all_logits(ids)) < 1e-6


def test_the_gguf_package_reads_it(edited):
    path, file, _, _ = edited
    reader = gguf.GGUFReader(file)
    with closing(larqldb.connect(path, read_only=True)) as conn:
        network = conn.session.network
    name = reader.get_field("general.architecture").contents()
    assert reader.get_field(f"{name}.feed_forward_length").contents() == 96
    assert reader.get_field(f"{name}.block_count").contents() == network.layers
    assert len(reader.get_field("tokenizer.ggml.tokens").data) == network.vocab
    assert {tensor.tensor_type.name for tensor in reader.tensors} == {"F32"}


def test_llama_cpp_says_what_the_live_model_says(edited):
    path, file, ids, live = edited
    llama = Llama(file)
    windowed = any(name in path.parent.name for name in ("mistral", "phi3"))  # llama.cpp attends to everything
    for count in (5, 7) if windowed else (6, len(ids)):
        assert divergence(live[count - 1 : count], llama.logs(ids[:count], live.shape[1])[None]) < 1e-4, count
    assert llama.count(PROMPT) == len(ids)


@pytest.mark.parametrize("quant", ["f16", "bf16", "q8_0", "q4_0", "q4_1"])
def test_each_type_is_written(tmp_path, quant):
    write_tiny(tmp_path / "model", dtype=np.float32, **WIDER)
    larqldb.extract(tmp_path / "model", tmp_path / "m.vindex")
    with closing(larqldb.connect(tmp_path / "m.vindex")) as conn:
        conn.execute(f"COMPILE CURRENT INTO MODEL ? QUANT {quant}", (str(tmp_path / "m.gguf"),))
        ids = conn.session.tokenizer.encode(PROMPT)
        live = conn.session.runner.all_logits(ids)
        wanted = {tensor.name: conn.session.store.read(tensor) for tensor in conn.session.store.tensors()}
    with open_source(tmp_path / "m.gguf") as source:
        kinds = {name: info.quantisation or info.dtype for name, info in source.tensors.items()}
        found = {name: source.read(name).astype(np.float32) for name in source.tensors}
    kind = quant.upper()
    assert kinds["model.layers.0.mlp.up_proj.weight"] == kind
    assert kinds["model.layers.0.input_layernorm.weight"] == "F32"
    assert kinds["model.embed_tokens.weight"] == ("Q8_0" if kind.startswith("Q4") else kind)
    step = {"F16": 1e-3, "BF16": 8e-3, "Q8_0": 1 / 127, "Q4_0": 1 / 7, "Q4_1": 1 / 7}[kind]
    assert all(np.abs(found[name] - array).max() <= step * np.abs(array).max() for name, array in wanted.items())
    llama = Llama(tmp_path / "m.gguf")
    limit = {"F16": 1e-3, "BF16": 0.02, "Q8_0": 0.05}.get(kind, 10)
    assert divergence(live[-1:], llama.logs(ids, live.shape[1])[None]) < limit


def test_rows_that_blocks_do_not_divide_stay_floats(tiny_extracted, tmp_path):
    with closing(larqldb.connect(tiny_extracted, read_only=True)) as conn:
        compile_model(conn.session, tmp_path / "m.gguf", quant="q8_0")
    assert {tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "m.gguf").tensors} == {"F16", "F32"}


def test_a_format_adds_its_ending(tiny_extracted, tmp_path):
    with closing(larqldb.connect(tiny_extracted, read_only=True)) as conn:
        rows = conn.execute("COMPILE CURRENT INTO MODEL ? FORMAT GGUF", (str(tmp_path / "m"),)).fetchall()
    assert rows[0][1] == str(tmp_path / "m.gguf")
    assert rows[0][3] == (tmp_path / "m.gguf").stat().st_size


def test_chat_templates_and_special_tokens_come_along(tmp_path):
    source = write_tiny(tmp_path / "model")
    settings = {"bos_token": "<|endoftext|>", "eos_token": {"content": "<|endoftext|>"}, "add_bos_token": True}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    (source / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 5]}))
    larqldb.extract(source, tmp_path / "m.vindex")
    with closing(larqldb.connect(tmp_path / "m.vindex", read_only=True)) as conn:
        compile_model(conn.session, tmp_path / "m.gguf")
        ids = conn.session.tokenizer.encode("Paris")
    with open_source(tmp_path / "m.gguf") as again:
        config = json.loads(again.files["tokenizer_config.json"])
        assert (config["chat_template"], config["add_bos_token"]) == ("{{ messages[0].content }}", True)
        assert json.loads(again.files["generation_config.json"])["eos_token_id"] == [0, 5]
        assert Tokenizer(again.files).encode("Paris") == ids == [0, *ids[1:]]


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZERS))
def test_each_pre_tokenizer_is_recognised(name):
    whole = json.loads(tokenizer().to_str())
    known = PRE_TOKENIZERS[name]
    whole |= {"pre_tokenizer": known.pre_tokenizer(), "normalizer": known.normalizer()}
    whole["model"]["ignore_merges"] = known.whole_words
    found = read_vocabulary({"tokenizer.json": json.dumps(whole).encode()}, 400).pre
    assert PRE_TOKENIZERS[found] == known


def test_unknown_pre_tokenizers_are_refused():
    whole = json.loads(tokenizer().to_str())
    split = {"type": "Split", "pattern": {"Regex": "[aeiou]"}, "behavior": "Isolated", "invert": False}
    whole["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, whole["pre_tokenizer"]]}
    with pytest.raises(CannotCompile, match="splits texts"):
        read_vocabulary({"tokenizer.json": json.dumps(whole).encode()}, 400)


def test_ids_without_a_token_are_unused():
    vocabulary = read_vocabulary({"tokenizer.json": tokenizer().to_str().encode()}, 400)
    assert vocabulary.tokens[399] == "[PAD399]"
    assert (vocabulary.types[0], vocabulary.types[300], vocabulary.types[399]) == (3, 1, 5)


def sentencepiece_json(merges):
    tokens = ["<unk>", "<s>", "<0x0A>", "▁", "a", "b", "ab", "▁ab", "<extra>"]
    added = [(0, "<unk>", True), (1, "<s>", True), (8, "<extra>", False)]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": token, "special": special, **flags} for i, token, special in added],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "decoder": None,
        "model": {
            "type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True,
            "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges,
        },
    }  # fmt: skip


def test_scores_follow_the_order_of_merges():
    files = {"tokenizer.json": json.dumps(sentencepiece_json(["a b", ["▁", "ab"]])).encode()}
    vocabulary = read_vocabulary(files, 9)
    assert (vocabulary.kind, vocabulary.pre) == ("llama", "default")
    assert vocabulary.types == [2, 3, 6, 1, 1, 1, 1, 1, 4]
    assert vocabulary.scores[6] > vocabulary.scores[7] > vocabulary.scores[3]


def message(number, content):
    return bytes([number << 3 | 2, len(content)]) + content


def test_scores_are_those_of_tokenizer_model_where_it_is_there():
    names = ["<unk>", "<s>", "<0x0A>", "▁", "a", "b", "ab", "▁ab"]
    kinds = [2, 3, 6, 1, 1, 1, 1, 5]
    content = b"".join(
        message(1, message(1, name.encode()) + b"\x15" + struct.pack("<f", -i / 2) + bytes([0x18, kind]))
        for i, (name, kind) in enumerate(zip(names, kinds, strict=True))
    )
    files = {"tokenizer.json": json.dumps(sentencepiece_json(["a b"])).encode(), "tokenizer.model": content}
    vocabulary = read_vocabulary(files, 9)
    assert vocabulary.types == [*kinds[:7], 5, 4]
    assert vocabulary.scores == [*(-i / 2 for i in range(8)), -1000.0]
    assert pieces(message(2, b"settings") + message(1, message(1, b"x")))[0].text == "x"
    for cut in (content[:-3], b"\xff" * 20, message(1, b"\x0b")):
        with pytest.raises(BadModelFile, match=r"tokenizer\.model"):
            pieces(cut)


@pytest.mark.parametrize(
    ("family", "changes", "message"),
    [
        ("llama", {"hidden_act": "gelu"}, "activation gelu"),
        ("gemma3", {}, "attention scaled by"),
        ("gemma3", {**PLAIN["gemma3"], "final_logit_softcapping": 30.0}, "softcap of logits"),
        ("gemma3", {**PLAIN["gemma3"], "sliding_window_pattern": 2}, "pattern of sliding windows"),
        ("qwen3", {"attention_bias": True}, "a bias of attn_"),
        ("gpt2", {"scale_attn_weights": False}, "attention scaled by 1"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(family, changes, message):
    with pytest.raises(CannotCompile, match=message):
        architecture(resolve({**FAMILIES[family], **changes}))


LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
LINEAR = {"rope_type": "linear", "factor": 4.0}
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0, 1.5, 2.0], "long_factor": [2.0, 4.0, 8.0]}
TWICE = {"original_max_position_embeddings": 256, "max_position_embeddings": 512}  # llama.cpp is given 256
PARTIAL = {"rope_theta": 500000.0, "partial_rotary_factor": 0.75}


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("llama", {"rope_scaling": LLAMA3, "rope_theta": 500000.0}),
        ("llama", {"rope_scaling": LINEAR}),
        ("gemma3", {"rope_scaling": LINEAR, "num_hidden_layers": 6}),
        ("gemma3", {"rope_local_base_freq": 5000.0, "num_hidden_layers": 6}),
        ("phi3", {"rope_scaling": LONGROPE, **TWICE}),
        ("phi3", {"rope_parameters": {**LONGROPE, **PARTIAL}, **TWICE}),
    ],
)
def test_rotary_settings_come_back(tmp_path, family, changes):
    write_tiny(tmp_path / "model", family=family, dtype=np.float32, **PLAIN.get(family, {}), **changes)
    larqldb.extract(tmp_path / "model", tmp_path / "m.vindex")
    with closing(larqldb.connect(tmp_path / "m.vindex", read_only=True)) as conn:
        compile_model(conn.session, tmp_path / "m.gguf")
        network, ids = conn.session.network, conn.session.tokenizer.encode(PROMPT)[:7]  # phi3's window here
        live = conn.session.runner.logits(ids)[None]
    with open_source(tmp_path / "m.gguf") as source:
        pairs = zip(resolve(source.config).rotaries, network.rotaries, strict=True)
        assert all(replace(one, magnitude=other.magnitude) == other for one, other in pairs)  # a float32 in the file
    assert divergence(live, Llama(tmp_path / "m.gguf").logs(ids, network.vocab)[None]) < 1e-4
