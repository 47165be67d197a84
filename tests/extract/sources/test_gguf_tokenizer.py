"""Tokenizers synthesised from GGUF: the same ids as llama.cpp, and the settings around them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import Tokenizer

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.extract.sources import open_source
from larqldb.extract.sources.gguf_container import read_container
from larqldb.extract.sources.gguf_pretokenizers import PRE_TOKENIZERS
from larqldb.extract.sources.gguf_tokenizer import tokenizer_files

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
TEXTS: list[str] = json.loads((GOLDEN / "tokenizer_texts.json").read_text())
PRE_GOLDEN: dict[str, list[list[int]]] = json.loads((GOLDEN / "tokenizer_pre.json").read_text())["ids"]
# SentencePiece pieces with scores and types: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte.
PIECES = [
    *(("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("  ", -1000.0, 4)),
    *((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)),
    *(("▁h", -1.0, 1), ("el", -2.0, 1), ("lo", -3.0, 1), ("▁hel", -4.0, 1), ("▁hello", -5.0, 1)),
    *((letter, -100.0 - i, 1) for i, letter in enumerate("▁helo")),
]
BYTE = 4  # the id of <0x00>


def sentencepiece(**metadata: Any) -> dict[str, Any]:
    """Metadata of a small SentencePiece tokenizer; ``__`` stands for a dot in names."""
    tokens, scores, types = (list(column) for column in zip(*PIECES, strict=True))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        **{f"tokenizer.ggml.{key}": value for key, value in metadata.items()},
    }


@pytest.fixture
def files_of(write_gguf: Callable[..., Path], tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    def build(metadata: dict[str, Any]) -> dict[str, bytes]:
        return open_source(write_gguf(tmp_path / "x.gguf", metadata=metadata)).files

    return build


@pytest.fixture
def ids_of(files_of: Callable[..., dict[str, bytes]]) -> Callable[..., list[int]]:
    def build(text: str, metadata: dict[str, Any]) -> list[int]:
        ids: list[int] = Tokenizer.from_str(files_of(metadata)["tokenizer.json"].decode()).encode(text).ids
        return ids

    return build


# --- against llama.cpp


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_ids_are_llama_cpps(request: pytest.FixtureRequest, name: str) -> None:
    files = open_source(request.getfixturevalue(f"{name}_gguf")).files
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    golden = json.loads((GOLDEN / f"tokenizer_{name}.json").read_text())["ids"]
    assert len(golden) == len(TEXTS) > 250
    different = [text for text, ids in zip(TEXTS, golden, strict=True) if tokenizer.encode(text).ids != ids]
    assert different == []
    config = json.loads(files["tokenizer_config.json"])
    bos = config["bos_token"] if config["add_bos_token"] else ""
    for text in TEXTS[:60]:
        # SentencePiece cannot tell its stand-in for a space from a space.
        expected = text.replace("▁", " ") if name == "gemma3" else text
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == bos + expected


@pytest.mark.parametrize("pre", PRE_GOLDEN)
def test_every_pre_tokenizer_splits_as_llama_cpp(smollm2_gguf: Path, pre: str) -> None:
    container = read_container(smollm2_gguf)
    renamed = dataclasses.replace(container, metadata={**container.metadata, "tokenizer.ggml.pre": pre})
    tokenizer = Tokenizer.from_str(tokenizer_files(renamed, 8192)["tokenizer.json"].decode())
    different = [text for text, ids in zip(TEXTS, PRE_GOLDEN[pre], strict=False) if tokenizer.encode(text).ids != ids]
    assert different == []


def test_every_pre_tokenizer_has_a_reference() -> None:
    # The other names: smollm is the model's own; two are spellings of llama-bpe; Qwen's normalises, see below.
    assert PRE_TOKENIZERS.keys() - PRE_GOLDEN.keys() == {"smollm", "llama3", "llama-v3", "qwen2"}
    assert PRE_TOKENIZERS["llama3"] is PRE_TOKENIZERS["llama-v3"] is PRE_TOKENIZERS["llama-bpe"]
    assert PRE_TOKENIZERS["qwen2"] == dataclasses.replace(PRE_TOKENIZERS["deepseek-r1-qwen"], nfc=True)


def test_qwen_normalises(files_of: Callable[..., dict[str, bytes]]) -> None:
    tokenizer = json.loads(files_of({"tokenizer.ggml.pre": "qwen2"})["tokenizer.json"])
    assert tokenizer["normalizer"] == {"type": "NFC"}


# --- SentencePiece


def test_merges_are_rebuilt_from_the_scores(files_of: Callable[..., dict[str, bytes]]) -> None:
    merges = json.loads(files_of(sentencepiece())["tokenizer.json"])["model"]["merges"]
    assert merges == [["▁", "h"], ["e", "l"], ["l", "o"], ["▁h", "el"], ["▁hel", "lo"]]


PIECE = {piece: i for i, (piece, _, _) in enumerate(PIECES)}


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("hello", {}, [1, PIECE["▁hello"]]),
        ("hello", {"add_bos_token": False}, [PIECE["▁hello"]]),
        ("hello", {"add_eos_token": True}, [1, PIECE["▁hello"], 2]),
        ("hello", {"add_space_prefix": False}, [1, PIECE["h"], PIECE["el"], PIECE["lo"]]),
        (" hello", {"add_space_prefix": False}, [1, PIECE["▁hello"]]),
        ("hello</s>hello", {}, [1, PIECE["▁hello"], 2, PIECE["▁hello"]]),
        ("  hello", {"add_space_prefix": False}, [1, PIECE["  "], PIECE["h"], PIECE["el"], PIECE["lo"]]),
        ("é", {"add_space_prefix": False}, [1, BYTE + 0xC3, BYTE + 0xA9]),
        ("\n", {"add_space_prefix": False}, [1, BYTE + 0x0A]),
        ("", {}, [1]),
    ],
)
def test_sentencepiece(
    ids_of: Callable[..., list[int]], text: str, settings: dict[str, Any], expected: list[int]
) -> None:
    assert ids_of(text, sentencepiece(**settings)) == expected


def test_sentencepiece_decodes_what_it_encoded(files_of: Callable[..., dict[str, bytes]]) -> None:
    for prefix in (True, False):
        tokenizer = Tokenizer.from_str(files_of(sentencepiece(add_space_prefix=prefix))["tokenizer.json"].decode())
        for text in ("hello", "hello hello é\n", " hello x", *(() if prefix else ("  hello   x",))):
            assert tokenizer.decode(tokenizer.encode(text).ids) == text


# --- settings


def test_byte_level(ids_of: Callable[..., list[int]]) -> None:
    hello = ids_of("hello", {})
    assert len(hello) == 1
    assert ids_of("hello", {"tokenizer.ggml.add_bos_token": True}) == [0, *hello]
    assert ids_of("hello</s>", {"tokenizer.ggml.add_eos_token": True}) == [*hello, 1, 1]
    assert ids_of("hello", {"tokenizer.ggml.pre": "llama-bpe"}) == [0, *hello]  # its models expect BOS


def test_the_files_around_it(files_of: Callable[..., dict[str, bytes]]) -> None:
    files = files_of({"tokenizer.chat_template": "{{ x }}", "tokenizer.ggml.eot_token_id": 5})
    assert files.keys() == {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert json.loads(files["tokenizer_config.json"]) == {
        "add_bos_token": False,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": None,
        "pad_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 128,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": "{{ x }}",
    }
    assert json.loads(files["generation_config.json"]) == {"bos_token_id": 0, "eos_token_id": [1, 5]}


def test_named_chat_templates(files_of: Callable[..., dict[str, bytes]]) -> None:
    files = files_of({"tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b"})
    assert json.loads(files["tokenizer_config.json"])["chat_template"] == [
        {"name": "default", "template": "a"},
        {"name": "tool_use", "template": "b"},
    ]


def test_added_tokens_by_type(files_of: Callable[..., dict[str, bytes]]) -> None:
    added = json.loads(files_of(sentencepiece())["tokenizer.json"])["added_tokens"]
    assert {token["content"]: token["special"] for token in added} == {
        "<unk>": True,
        "<s>": True,
        "</s>": True,
        "  ": False,
    }
    assert not any(token["normalized"] for token in added)


# --- what is refused


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tokenizer.ggml.pre": "falcon-h9"}, r"pre-tokenizer falcon-h9 .* smollm"),
        ({"tokenizer.ggml.model": "bert"}, "tokenizer bert"),
        ({"tokenizer.ggml.add_space_prefix": True}, "add_space_prefix"),
    ],
)
def test_unknown_tokenizers_are_refused_by_name(
    files_of: Callable[..., dict[str, bytes]], metadata: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        files_of(metadata)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tokenizer.ggml.model": None}, "it has no tokenizer"),
        ({"tokenizer.ggml.model": [1, 2]}, r"tokenizer\.ggml\.model is of the wrong type"),
        ({"tokenizer.ggml.pre": ["a"]}, r"tokenizer\.ggml\.pre is of the wrong type"),
        ({"tokenizer.ggml.add_bos_token": [1, 0]}, r"add_bos_token is of the wrong type"),
        ({"tokenizer.ggml.model": "no_vocab"}, "it has no tokenizer"),
        ({"tokenizer.ggml.tokens": None, "tokenizer.ggml.bos_token_id": None}, "token id is 1, in a vocabulary of 0"),
        ({"tokenizer.ggml.tokens": [1, 2]}, "no list of tokens"),
        ({"tokenizer.ggml.tokens": ["a", "b", "a"], "tokenizer.ggml.token_type": [1, 1, 1]}, "token 'a' occurs twice"),
        ({"tokenizer.ggml.token_type": [1, 1]}, "no type for every token"),
        ({"tokenizer.ggml.merges": None}, "no list of merges"),
        ({"tokenizer.ggml.merges": ["h e", "x"]}, "merge 'x'"),
        ({"tokenizer.ggml.merges": ["h z"]}, "merge 'h z'"),
        ({"tokenizer.ggml.bos_token_id": 5000}, r"bos token id is 5000, in a vocabulary of 101"),
        ({"tokenizer.ggml.bos_token_id": None, "tokenizer.ggml.add_bos_token": True}, "adds BOS but names no"),
        (sentencepiece(scores=[1.0]), "no score for every token"),
        (sentencepiece(scores=[0.0, float("nan")] * (len(PIECES) // 2)), "the score of token 1 is not a number"),
    ],
)
def test_tokenizers_that_contradict_themselves(
    files_of: Callable[..., dict[str, bytes]], metadata: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadModelFile, match=message):
        files_of(metadata)
