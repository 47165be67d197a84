"""tokenizer.json, tokenizer_config.json and generation_config.json from the tokenizer a GGUF file carries.

Two kinds are known: byte-level BPE (``tokenizer.ggml.model`` "gpt2": vocabulary and merges) and SentencePiece BPE
("llama": vocabulary and scores, from which the merges are rebuilt). The reference for what a text becomes is llama.cpp.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import TokenType

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.extract.sources.base import shown
from larqldb.extract.sources.gguf_pretokenizers import PRE_TOKENIZERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from larqldb.extract.sources.gguf_container import Container

_SPACE = "▁"  # SentencePiece's stand-in for a space
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_REMEDY = "Use another conversion of this model, or its Hugging Face directory"


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """What both kinds share: tokens by id, their types, and the special ids (None where the file names none)."""

    tokens: list[str]
    types: list[int]
    bos: int | None
    eos: int | None
    unknown: int | None
    padding: int | None
    add_bos: bool
    add_eos: bool

    def text(self, token_id: int | None) -> str | None:
        return None if token_id is None else self.tokens[token_id]


def tokenizer_files(container: Container, context: int) -> dict[str, bytes]:
    """The tokenizer's files by name, in Hugging Face's form.

    ``context`` is the longest sequence the model takes. Raises BadModelFile (no tokenizer, or one that contradicts
    itself) or UnsupportedModel (a tokenizer model or pre-tokenizer that is not known).
    """
    kind = container.text("tokenizer.ggml.model", "no_vocab")
    if kind == "gpt2":
        vocabulary, parts = _byte_level(container)
    elif kind == "llama":
        vocabulary, parts = _sentencepiece(container)
    elif kind in ("no_vocab", "none"):
        raise BadModelFile(path=container.path, problem="it has no tokenizer", remedy=_REMEDY)
    else:
        raise UnsupportedModel(
            what=shown(f"tokenizer {kind}"),
            why="only byte-level BPE (gpt2) and SentencePiece BPE (llama) are",
            remedy=_REMEDY,
        )
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": list(_added_tokens(vocabulary)),
        **parts,
        "post_processor": _post_processor(vocabulary, parts["post_processor"]),
    }
    return {
        "tokenizer.json": json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode(),
        "tokenizer_config.json": _json(_tokenizer_config(container, vocabulary, context)),
        "generation_config.json": _json(_generation_config(container, vocabulary)),
    }


def special_token_ids(container: Container) -> dict[str, int]:
    """``bos_token_id``, ``eos_token_id`` and ``pad_token_id`` as config.json has them, where the file names them."""
    named = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    found = {key: _token_id(container, name) for key, name in named.items()}
    return {key: value for key, value in found.items() if value is not None}


def _byte_level(container: Container) -> tuple[_Vocabulary, dict[str, Any]]:
    pre = container.text("tokenizer.ggml.pre", "default")
    if pre not in PRE_TOKENIZERS:
        raise UnsupportedModel(
            what=shown(f"pre-tokenizer {pre}"),
            why=f"the known ones are {', '.join(sorted(PRE_TOKENIZERS))}",
            remedy=_REMEDY,
        )
    rules = PRE_TOKENIZERS[pre]
    if container.flag("tokenizer.ggml.add_space_prefix", False):
        raise UnsupportedModel(
            what="tokenizer.ggml.add_space_prefix", why="byte-level BPE puts no space before a text", remedy=_REMEDY
        )
    vocabulary = _vocabulary(container, add_bos=rules.adds_bos)
    ids = _ids(container, vocabulary.tokens)
    merges = []
    for merge in _strings(container, "merges"):
        left, _, right = merge[1:].partition(" ")
        left = merge[:1] + left
        if left not in ids or right not in ids or left + right not in ids:
            raise _bad(container, f"merge {merge!r} makes or takes a token that is not in the vocabulary")
        merges.append([left, right])
    to_text = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return vocabulary, {
        "normalizer": rules.normalizer(),
        "pre_tokenizer": rules.pre_tokenizer(),
        "post_processor": to_text,
        "decoder": to_text,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": rules.whole_words,
            "vocab": ids,
            "merges": merges,
        },
    }


def _sentencepiece(container: Container) -> tuple[_Vocabulary, dict[str, Any]]:
    vocabulary = _vocabulary(container, add_bos=True)
    scores = container.metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray) or len(scores) != len(vocabulary.tokens):
        raise _bad(container, "its tokenizer has no score for every token")
    if not np.isfinite(scores).all():
        raise _bad(container, f"the score of token {int(np.isfinite(scores).argmin())} is not a number")
    prefix = container.flag("tokenizer.ggml.add_space_prefix", True)
    to_space = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    to_text = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        to_text.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    byte_tokens = sum(1 for token in vocabulary.tokens if _BYTE.fullmatch(token))
    return vocabulary, {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": _SPACE}, to_space]}
        if prefix
        else to_space,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": to_text},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": vocabulary.text(vocabulary.unknown),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": byte_tokens == 256,
            "ignore_merges": False,
            "vocab": _ids(container, vocabulary.tokens),
            "merges": _merges_from_scores(vocabulary, scores.astype(np.float64)),
        },
    }


def _merges_from_scores(vocabulary: _Vocabulary, scores: np.ndarray[Any, Any]) -> list[list[str]]:
    """The merges that give what SentencePiece gives: of all adjacent pairs, the one whose union scores best first.

    Only pieces of ordinary text take part: the other types are matched in the text before it is segmented, or never.
    """
    # Values are the very strings of the vocabulary, so that half a million merges share them.
    pieces = {token: token for token, kind in zip(vocabulary.tokens, vocabulary.types, strict=True) if kind == 1}
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    merges: list[list[str]] = []
    # By score, best first; among equals by id, so that the result is always the same.
    for i in np.argsort(-scores, kind="stable").tolist():
        token = vocabulary.tokens[i]
        if token not in pieces:
            continue
        splits = []
        for cut in range(1, len(token)):
            left = pieces.get(token[:cut])
            if left is not None and (right := pieces.get(token[cut:])) is not None:
                splits.append([left, right])
        splits.sort(key=lambda split: (ids[split[0]], ids[split[1]]))
        merges += splits
    return merges


def _vocabulary(container: Container, *, add_bos: bool) -> _Vocabulary:
    # llama.cpp names empty tokens like this, because a vocabulary cannot hold two of them.
    tokens = [token or f"[EMPTY_{i}]" for i, token in enumerate(_strings(container, "tokens"))]
    if not tokens:
        raise _bad(container, "its tokenizer has no tokens")
    types = container.metadata.get("tokenizer.ggml.token_type")
    if types is None:
        types = np.full(len(tokens), TokenType.NORMAL)
    if not isinstance(types, np.ndarray) or len(types) != len(tokens):
        raise _bad(container, "its tokenizer has no type for every token")
    result = _Vocabulary(
        tokens=tokens,
        types=types.tolist(),
        bos=_token_id(container, "bos"),
        eos=_token_id(container, "eos"),
        unknown=_token_id(container, "unknown"),
        padding=_token_id(container, "padding"),
        add_bos=container.flag("tokenizer.ggml.add_bos_token", add_bos),
        add_eos=container.flag("tokenizer.ggml.add_eos_token", False),
    )
    for wanted, token_id, name in ((result.add_bos, result.bos, "BOS"), (result.add_eos, result.eos, "EOS")):
        if wanted and token_id is None:
            raise _bad(container, f"its tokenizer adds {name} but names no such token")
    return result


def _token_id(container: Container, name: str) -> int | None:
    value = container.metadata.get(f"tokenizer.ggml.{name}_token_id")
    if value is None:
        return None
    tokens = container.metadata.get("tokenizer.ggml.tokens", ())
    if type(value) is not int or not 0 <= value < len(tokens):
        raise _bad(container, f"its {name} token id is {value!r}, in a vocabulary of {len(tokens):,}")
    return value


def _ids(container: Container, tokens: list[str]) -> dict[str, int]:
    ids = {token: i for i, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for i, token in enumerate(tokens) if ids[token] != i)
        raise _bad(container, f"token {twice!r} occurs twice in its vocabulary")
    return ids


def _strings(container: Container, name: str) -> list[str]:
    value = container.metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _bad(container, f"its tokenizer has no list of {name}")
    return value


def _added_tokens(vocabulary: _Vocabulary) -> Iterator[dict[str, Any]]:
    """Tokens found in a text before it is segmented: the special ones, and the user-defined ones."""
    special = (TokenType.CONTROL, TokenType.UNKNOWN)
    for token_id, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True)):
        if kind in special or kind == TokenType.USER_DEFINED:
            yield {
                "id": token_id,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": kind in special,
            }


def _post_processor(vocabulary: _Vocabulary, otherwise: dict[str, Any] | None) -> dict[str, Any] | None:
    """A template that puts BOS before and EOS after each sequence as the model's settings say."""
    before = [vocabulary.bos] if vocabulary.add_bos else []
    after = [vocabulary.eos] if vocabulary.add_eos else []
    if not before and not after:
        return otherwise

    def sequence(name: str, type_id: int) -> list[dict[str, Any]]:
        first, last = (
            [{"SpecialToken": {"id": vocabulary.text(i), "type_id": type_id}} for i in ids] for ids in (before, after)
        )
        return [*first, {"Sequence": {"id": name, "type_id": type_id}}, *last]

    return {
        "type": "TemplateProcessing",
        "single": sequence("A", 0),
        "pair": sequence("A", 0) + sequence("B", 1),
        "special_tokens": {
            text: {"id": text, "ids": [i], "tokens": [text]}
            for i in (*before, *after)
            if (text := vocabulary.text(i)) is not None
        },
    }


def _tokenizer_config(container: Container, vocabulary: _Vocabulary, context: int) -> dict[str, Any]:
    config: dict[str, Any] = {
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": vocabulary.add_eos,
        "bos_token": vocabulary.text(vocabulary.bos),
        "eos_token": vocabulary.text(vocabulary.eos),
        "unk_token": vocabulary.text(vocabulary.unknown),
        "pad_token": vocabulary.text(vocabulary.padding),
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    prefix = "tokenizer.chat_template"
    templates = {
        key.removeprefix(prefix).removeprefix(".") or "default": value
        for key, value in container.metadata.items()
        if (key == prefix or key.startswith(f"{prefix}.")) and isinstance(value, str)
    }
    if templates.keys() == {"default"}:
        config["chat_template"] = templates["default"]
    elif templates:
        config["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
    return config


def _generation_config(container: Container, vocabulary: _Vocabulary) -> dict[str, Any]:
    """Where generation starts and ends; end of turn and end of message end it too."""
    ends = [vocabulary.eos, _token_id(container, "eot"), _token_id(container, "eom")]
    eos = list(dict.fromkeys(i for i in ends if i is not None))
    config = special_token_ids(container)
    return config | ({"eos_token_id": eos} if len(eos) > 1 else {})


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _bad(container: Container, problem: str) -> BadModelFile:
    return BadModelFile(path=container.path, problem=shown(problem), remedy=_REMEDY)
