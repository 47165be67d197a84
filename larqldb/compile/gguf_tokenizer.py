"""A model's tokenizer as GGUF has it: tokens, their types and scores, merges, the pre-tokenizer's name, special ids.

Two kinds are known, as in reading: byte-level BPE ("gpt2") and SentencePiece BPE ("llama"). Of the latter llama.cpp
wants scores: those in tokenizer.model where the model came with it, else the order of the merges, which came of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tokenizers
from gguf import GGUFWriter, TokenType

from larqldb.compile.sentencepiece import pieces
from larqldb.errors import CannotCompile
from larqldb.extract.sources.gguf_pretokenizers import PRE_TOKENIZERS
from larqldb.model.tokenizer import BYTE_PIECE, Tokenizer

_REMEDY = "Compile it with FORMAT SAFETENSORS"
_SPACE = "▁"
_ADDED_SCORE = -1000.0  # what llama.cpp's converter gives tokens that are found before a text is segmented
_SPECIAL = {"bos": "bos_token", "eos": "eos_token", "unk": "unk_token", "pad": "pad_token"}
# Pre-tokenizers that split this alike are the same: words, cases, digits, punctuation, scripts, kinds of space.
_PROBE = (
    "Hello world's I'LL don'T we'Ve x86 1234567 3.14159 12,345 don\u2019t camelCaseHTTPServer ÉCOLE straße naïve "
    "e\u0301t\u0301   two   three\ttab\n\nlines \r\n\r\n  end\n  if (x != y) { return a[i] += b*c; } // $%^&*_+-=~`|\n"
    "...!!??--- http://a.b/c?d=e&f#g user@example.com 東京は日本の首都です。2024年 テスト 한국어 Москва столица "
    "مرحبا ١٢٣ हिन्दी ๑๒๓ ไทย 🎉🎊👩\u200d👧 ①② ½ x² "
    "\u00a0nbsp \u3000wide\u2028sep\u200bzero É1a 1É A1b2C3 'quoted' \"end\"  "
)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, with their types; ``scores`` are SentencePiece's, ``merges`` byte-level BPE's."""

    kind: str
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float] | None = None
    merges: list[str] | None = None


def add_tokenizer(writer: GGUFWriter, files: Mapping[str, bytes], rows: int) -> None:
    """Write the tokenizer among a model's files; ``rows`` are those of the embeddings.

    Raises CannotCompile for a tokenizer that is neither of the two kinds, or splits texts as none that has a name.
    """
    vocabulary = read_vocabulary(files, rows)
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    if vocabulary.scores is not None:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types(vocabulary.types)
    if vocabulary.merges is not None:
        writer.add_token_merges(vocabulary.merges)
    tokenizer = Tokenizer(files)
    ids = _special_ids(files, tokenizer)
    writers = {
        "bos": writer.add_bos_token_id, "eos": writer.add_eos_token_id, "unk": writer.add_unk_token_id,
        "pad": writer.add_pad_token_id,
    }  # fmt: skip
    for name, write in writers.items():
        token_id = ids[name]
        if token_id is not None:
            write(token_id)
    for write, end in zip((writer.add_eot_token_id, writer.add_eom_token_id), _ends(files, ids), strict=False):
        write(end)
    before, after = _around(tokenizer, "a")
    if before not in ([], [ids["bos"]]) or after not in ([], [ids["eos"]]):
        raise _cannot("its tokenizer", "it puts other tokens than BOS and EOS around texts")
    writer.add_add_bos_token(bool(before))
    writer.add_add_eos_token(bool(after))
    if vocabulary.kind == "llama":
        first = tokenizer.encode("a", special=False)
        writer.add_add_space_prefix(bool(first) and tokenizer.piece(first[0]).startswith(_SPACE))
    template = _chat_template(files)
    if template:
        writer.add_chat_template(template)


def read_vocabulary(files: Mapping[str, bytes], rows: int) -> Vocabulary:
    """The vocabulary of a tokenizer.json, filled up to ``rows`` with tokens that nothing uses."""
    whole = json.loads(files["tokenizer.json"])
    model = whole["model"]
    if model.get("type", "BPE") != "BPE" or "merges" not in model:
        raise _cannot(f"a tokenizer of type {model.get('type')}", "llama.cpp's for these models is BPE")
    names = _types(whole["pre_tokenizer"]) | _types(whole.get("decoder"))
    read = _byte_level if "ByteLevel" in names else _sentencepiece
    tokens = {token_id: token for token, token_id in model["vocab"].items()}
    added = {token["id"]: token for token in whole["added_tokens"]}
    tokens |= {token_id: token["content"] for token_id, token in added.items()}
    types = {
        token_id: TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED for token_id, token in added.items()
    }
    count = max(rows, max(tokens, default=-1) + 1)
    listed = [tokens.get(i, f"[PAD{i}]") for i in range(count)]
    kinds = [types.get(i, TokenType.NORMAL if i in tokens else TokenType.UNUSED) for i in range(count)]
    return read(whole, files, listed, [int(kind) for kind in kinds])


def _byte_level(whole: dict[str, Any], _: Mapping[str, bytes], tokens: list[str], types: list[int]) -> Vocabulary:
    if _types(whole["normalizer"]) - {"NFC", "Sequence"}:
        raise _cannot("its tokenizer", "llama.cpp changes no text before byte-level BPE, which its normalizer does")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["model"]["merges"]]
    return Vocabulary("gpt2", _pre_tokenizer(whole), tokens, types, merges=merges)


def _sentencepiece(
    whole: dict[str, Any], files: Mapping[str, bytes], tokens: list[str], types: list[int]
) -> Vocabulary:
    unknown = whole["model"].get("unk_token")
    for token_id, token in enumerate(tokens):
        if BYTE_PIECE.fullmatch(token):
            types[token_id] = int(TokenType.BYTE)
        elif token == unknown:
            types[token_id] = int(TokenType.UNKNOWN)
        elif types[token_id] == TokenType.USER_DEFINED:  # found in a text before its spaces are replaced
            tokens[token_id] = token.replace(_SPACE, " ")
    if "tokenizer.model" in files:
        scores = [_ADDED_SCORE] * len(tokens)
        for token_id, piece in enumerate(pieces(files["tokenizer.model"])[: len(tokens)]):
            if piece.text == tokens[token_id]:
                scores[token_id] = piece.score
                if types[token_id] == TokenType.NORMAL:
                    types[token_id] = piece.kind
    else:
        scores = _scores(whole["model"]["merges"], tokens, types)
    return Vocabulary("llama", "default", tokens, types, scores=scores)


def _scores(merges: list[Any], tokens: list[str], types: list[int]) -> list[float]:
    """A score for each token, the higher the earlier a merge makes it; what none makes is never preferred."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        ranks.setdefault(left + right, rank)
    return [
        -float(ranks.get(token, len(merges)) if kind == TokenType.NORMAL else -_ADDED_SCORE)
        for token, kind in zip(tokens, types, strict=True)
    ]


def _pre_tokenizer(whole: dict[str, Any]) -> str:
    """The name of the pre-tokenizer that splits as this one does."""
    splits = _splits(whole["pre_tokenizer"])
    same = [
        (known.whole_words != bool(whole["model"].get("ignore_merges")), known.nfc != bool(whole["normalizer"]), name)
        for name, known in PRE_TOKENIZERS.items()
        if _splits(known.pre_tokenizer()) == splits
    ]
    if not same:
        raise _cannot("its tokenizer", "it splits texts as none of the pre-tokenizers that larqldb knows by name")
    return min(same, key=lambda each: each[:2])[2]


def _splits(pre_tokenizer: Any) -> list[str]:
    """How a pre-tokenizer splits the probe."""
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    made = tokenizers.Tokenizer.from_str(
        json.dumps({"version": "1.0", "added_tokens": [], "model": empty, "pre_tokenizer": pre_tokenizer})
    )
    return [piece for piece, _ in made.pre_tokenizer.pre_tokenize_str(_PROBE)]


def _special_ids(files: Mapping[str, bytes], tokenizer: Tokenizer) -> dict[str, int | None]:
    """The special tokens' ids: as tokenizer_config.json names them, else config.json."""
    named, config = _object(files, "tokenizer_config.json"), _object(files, "config.json")
    config = config.get("text_config") or config
    found: dict[str, int | None] = {}
    for name, key in _SPECIAL.items():
        token = named.get(key)
        token = token.get("content") if isinstance(token, dict) else token
        stated = config.get(f"{key}_id")
        stated = stated[0] if isinstance(stated, list) and stated else stated
        token_id = tokenizer.token_id(token) if isinstance(token, str) else None
        found[name] = token_id if token_id is not None else stated if isinstance(stated, int) else None
    return found


def _ends(files: Mapping[str, bytes], ids: Mapping[str, int | None]) -> list[int]:
    """Tokens beside EOS that end what the model says."""
    ends = _object(files, "generation_config.json").get("eos_token_id")
    return [end for end in ends if isinstance(end, int) and end != ids["eos"]] if isinstance(ends, list) else []


def _around(tokenizer: Tokenizer, text: str) -> tuple[list[int], list[int]]:
    """What a tokenizer puts before and after a text."""
    plain, whole = tokenizer.encode(text, special=False), tokenizer.encode(text)
    start = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    return whole[:start], whole[start + len(plain) :]


def _chat_template(files: Mapping[str, bytes]) -> Any:
    """The chat template: a text, or several with names; None where there is none."""
    if "chat_template.jinja" in files:
        return files["chat_template.jinja"].decode()
    for name in ("tokenizer_config.json", "chat_template.json"):
        if found := _object(files, name).get("chat_template"):
            return found
    return None


def _types(component: Any) -> set[str]:
    """The types a normalizer, pre-tokenizer or decoder is made of."""
    return set(re.findall(r'"type": "(\w+)"', json.dumps(component)))


def _object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    found = json.loads(files.get(name, b"{}"))
    return found if isinstance(found, dict) else {}


def _cannot(what: str, why: str) -> CannotCompile:
    return CannotCompile(what=f"{what} as GGUF", why=why, remedy=_REMEDY)
