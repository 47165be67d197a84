"""Reading config.json: typed values with ranges, and a refusal of every key nobody looked at."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

from larqldb.errors import BadModelFile, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST = 1 << 24  # no vocabulary or context is larger; a bound that keeps damaged configs from allocating

# Keys that change nothing in the forward pass at inference, whatever their value: bookkeeping, training, generation.
HARMLESS = frozenset(
    {
        # where the model comes from and how it was saved
        "_name_or_path", "name_or_path", "architectures", "model_type", "transformers_version",
        "transformers.js_config",
        "dtype", "torch_dtype", "use_cache", "cache_implementation", "_attn_implementation", "attn_implementation",
        "_attn_implementation_autoset", "is_llama_config", "unsloth_fixed", "unsloth_version", "max_sequence_length",
        "pretraining_tp", "return_dict", "chunk_size_feed_forward", "is_decoder", "tokenizer_class",
        "_flash_attn_2_enabled", "output_past", "model_max_length", "tokenizer_model_max_length",
        "tokenizer_padding_side",
        # training
        "initializer_range", "attention_dropout", "hidden_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop",
        "dropout", "router_aux_loss_coef", "finetuning_task", "task_specific_params", "problem_type", "id2label",
        "label2id", "num_labels", "_num_labels", "gradient_checkpointing", "neftune_noise_alpha",
        # special tokens and defaults of generation
        "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id",
        "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "temperature",
        "top_k", "top_p", "typical_p", "diversity_penalty", "repetition_penalty", "length_penalty", "suppress_tokens",
        "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "num_return_sequences", "begin_suppress_tokens",
        "forced_bos_token_id", "forced_eos_token_id", "prefix", "output_attentions", "output_hidden_states",
    }
)  # fmt: skip


def shown(value: object) -> str:
    """A value from config.json as it appears in a message: cut when long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class ConfigReader:
    """The values of one config.json (or of an object inside it); remembers which keys were read.

    ``where`` prefixes keys in messages ("rope_scaling."). A value that is missing or null is taken from ``defaults``.
    ``spellings``: what a family calls keys that others share; they are asked for by the shared name, and may stand in
    the file under either.
    Every method raises BadModelFile for a value of the wrong type or out of range, naming the key and the value.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
        where: str = "",
        spellings: Mapping[str, str] | None = None,
    ) -> None:
        self.values, self.defaults, self.where = values, defaults or {}, where
        self._spellings = spellings or {}
        self._read: set[str] = set()

    def get(self, key: str) -> Any:
        """The value of ``key`` as it is; None when neither config nor defaults have it."""
        own = self._spellings.get(key, key)
        self._read |= {key, own}
        found = [value for name in dict.fromkeys((own, key)) if (value := self.values.get(name)) is not None]
        if len(found) > 1 and found[0] != found[1]:
            self.wrong(key, f"is {shown(found[0])}, and {key}, which is the same, is {shown(found[1])}")
        return found[0] if found else self.defaults.get(own)

    def integer(self, key: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.get(key)
        if value is None:
            self.wrong(key, "is missing")
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.wrong(key, f"is {shown(value)}, not a whole number from {low} to {high}")
        return value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``, or None when missing or null."""
        return None if self.get(key) is None else self.integer(key, low, high)

    def number(self, key: str, low: float, high: float) -> float:
        """A finite number above ``low`` and up to ``high``."""
        value = self.get(key)
        if value is None:
            self.wrong(key, "is missing")
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
            or not low < value <= high
        ):
            self.wrong(key, f"is {shown(value)}, not a number above {low:g} and up to {high:g}")
        return float(value)

    def numbers(self, key: str, count: int, low: float, high: float) -> tuple[float, ...]:
        """A list of ``count`` finite numbers above ``low`` and up to ``high``."""
        values = self.get(key)
        if not isinstance(values, list) or len(values) != count:
            self.wrong(key, "is missing" if values is None else f"is {shown(values)}, not a list of {count} numbers")
        each = ConfigReader({f"{key}[{place}]": value for place, value in enumerate(values)}, where=self.where)
        return tuple(each.number(name, low, high) for name in each.values)

    def optional_number(self, key: str, low: float, high: float) -> float | None:
        """A finite number above ``low`` and up to ``high``, or None when missing or null."""
        return None if self.get(key) is None else self.number(key, low, high)

    def flag(self, key: str) -> bool:
        """True or false; false when missing or null."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            self.wrong(key, f"is {shown(value)}, not true or false")
        return bool(value)

    def choice(self, key: str, known: Mapping[str, str]) -> str:
        """The entry of ``known`` for the value; UnsupportedModel when there is none."""
        value = self.get(key)
        if not isinstance(value, str) or value not in known:
            self.unsupported(key, f"larqldb implements {', '.join(sorted(known))}")
        return known[value]

    def section(self, key: str) -> ConfigReader | None:
        """The object under ``key``, or None when missing, null or empty."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            self.wrong(key, f"is {shown(value)}, not an object")
        return ConfigReader(value, where=f"{self.where}{key}.") if value else None

    def wrong(self, key: str, problem: str) -> NoReturn:
        """Raise BadModelFile about ``key``."""
        raise BadModelFile(
            path="config.json",
            problem=f"{self.name(key)} {problem}",
            remedy="Check that the file belongs to the model and came over whole",
        )

    def unsupported(self, key: str, why: str) -> NoReturn:
        """Raise UnsupportedModel about the value of ``key``."""
        raise UnsupportedModel(
            what=f"{self.name(key)} = {shown(self.get(key))} in config.json",
            why=why,
            remedy="Use a model without it",
        )

    def name(self, key: str) -> str:
        """The key as it appears in a message: in full, on one line."""
        key = self._spellings.get(key, key)
        return self.where + (key if key.isprintable() and len(key) < 60 else shown(key))

    def refuse_unread(self) -> None:
        """Raise UnsupportedModel for a key that was never read, is not harmless, and is set to something."""
        for key, value in self.values.items():
            # null, false and empty say that the feature is absent; 0 may be a factor, so it is not let through
            absent = value is None or value is False or value in ("", [], {})
            if key not in self._read and key not in HARMLESS and not absent:
                self.unsupported(key, "larqldb does not know what this key changes in the network")
