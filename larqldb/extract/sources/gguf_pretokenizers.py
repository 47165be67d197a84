"""Pre-tokenizers of byte-level BPE: what ``tokenizer.ggml.pre`` names, in the form tokenizer.json gives them.

GGUF stores only a name. What it stands for is in the tokenizer.json of the model it was made from; llama.cpp's table
of names is https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp (``tokenizer_pre``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def _cased_words(suffix: str) -> str:
    """Words split where lower case turns into upper (GPT-4o's and Tekken's), each with an optional suffix."""
    lead = r"[^\r\n\p{L}\p{N}]?"
    return f"{lead}[{_UPPER}]*[{_LOWER}]+{suffix}|{lead}[{_UPPER}]+[{_LOWER}]*{suffix}"


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_WORDS}|\p{{N}}{{1,3}}|{_SYMBOLS}[\r\n]*|{_SPACES}"
QWEN2 = rf"{_WORDS}|\p{{N}}|{_SYMBOLS}[\r\n]*|{_SPACES}"
TEKKEN = rf"{_cased_words('')}|\p{{N}}|{_SYMBOLS}[\r\n/]*|{_SPACES}"
GPT4O = rf"{_cased_words(f'{_CONTRACTIONS}?')}|\p{{N}}{{1,3}}|{_SYMBOLS}[\r\n/]*|{_SPACES}"


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """How text is split before byte-level BPE.

    ``patterns`` split one after the other, each match and each gap becoming a piece. ``whole_words``: a piece that is
    in the vocabulary is taken whole without merging. ``adds_bos``: BOS goes first unless the file says otherwise.
    """

    patterns: tuple[str, ...]
    whole_words: bool = False
    adds_bos: bool = False
    nfc: bool = False

    def normalizer(self) -> dict[str, Any] | None:
        """The ``normalizer`` entry of tokenizer.json."""
        return {"type": "NFC"} if self.nfc else None

    def pre_tokenizer(self) -> dict[str, Any]:
        """The ``pre_tokenizer`` entry of tokenizer.json."""
        splits = [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
            for pattern in self.patterns
        ]
        to_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        return {"type": "Sequence", "pretokenizers": [*splits, to_bytes]}


_GPT2 = PreTokenizer((GPT2,))
_LLAMA3 = PreTokenizer((LLAMA3,), whole_words=True, adds_bos=True)
_QWEN2 = PreTokenizer((QWEN2,))
_DIGITS_THEN_GPT2 = PreTokenizer((r"\p{N}", GPT2))

PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    # What llama.cpp falls back to; files converted before it knew their model's pre-tokenizer say so.
    "default": PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "exaone4": _GPT2,
    "smollm": _DIGITS_THEN_GPT2,
    "starcoder": _DIGITS_THEN_GPT2,
    "refact": _DIGITS_THEN_GPT2,
    "codeshell": _DIGITS_THEN_GPT2,
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": PreTokenizer((QWEN2,), nfc=True),  # Qwen's tokenizer.json normalises; llama.cpp does not
    "deepseek-r1-qwen": _QWEN2,
    "megrez": _QWEN2,
    "deepseek-coder": PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")),
    "tekken": PreTokenizer((TEKKEN,), whole_words=True, adds_bos=True),
    "gpt-4o": PreTokenizer((GPT4O,)),
}
