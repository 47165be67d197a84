"""One model, layer by layer, into the tables of a new vindex.

In memory are the embeddings and two layers' tensors, one being read while the other is worked on; the tokenizer is
gone before the embeddings come.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from larqldb.errors import BadModelFile, ProgrammingError, UnsupportedModel
from larqldb.extract import LEVELS, ExtractReport, Progress
from larqldb.extract.associations import Associations
from larqldb.extract.bands import METHOD, bands
from larqldb.extract.convert import read_tensor, stored_dtype
from larqldb.extract.features import LayerWriter, Measured
from larqldb.extract.sources import Source, open_source
from larqldb.model.architectures import resolve, tensors
from larqldb.model.network import NORMS, Network, TensorSlot
from larqldb.model.tokenizer import Tokenizer
from larqldb.storage.checksums import fingerprint
from larqldb.storage.dtypes import USER_NAMES, as_float32
from larqldb.storage.new_file import new_vindex
from larqldb.storage.tensors import DIRECTIONS, StoredTensor, TensorStore, sha256

if TYPE_CHECKING:
    import apsw

Array = np.ndarray[Any, Any]
T = TypeVar("T")

# Tensors that some files carry though they follow from others, by how their names end; kept, never used.
REDUNDANT = ("rotary_emb.inv_freq", "lm_head.weight", ".attn.bias", "masked_bias")
BROWSED = NORMS | {"embed", "gate"}  # the roles stored at level browse, and their biases


def run(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    level: str,
    dtype: str | None,
    layers: tuple[int, int] | None,
    progress: Progress,
) -> ExtractReport:
    """See ``larqldb.extract.extract``."""
    started = time.perf_counter()
    if level not in LEVELS:
        raise ProgrammingError(f"level {level!r} is not one of {', '.join(LEVELS)}")
    if dtype is not None and dtype not in USER_NAMES:
        raise ProgrammingError(f"dtype {dtype!r} is not one of {', '.join(USER_NAMES)}")
    with new_vindex(path) as db, open_source(source) as opened:
        counts = write(
            db, opened, level=level, dtype=USER_NAMES[dtype] if dtype else None, layers=layers, progress=progress
        )
    return ExtractReport(
        path=os.fspath(path), bytes=Path(path).stat().st_size, seconds=time.perf_counter() - started, **counts
    )


def write(
    db: apsw.Connection,
    source: Source,
    *,
    level: str,
    progress: Progress,
    dtype: str | None = None,
    layers: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Fill an empty vindex with a model; ``dtype`` is a stored one (F32 …). Gives the counts of ``ExtractReport``."""
    return _Extraction(db, source, level, dtype, layers, progress).run()


class _Extraction:
    """The state of one extraction; ``run`` does it."""

    def __init__(
        self,
        db: apsw.Connection,
        source: Source,
        level: str,
        dtype: str | None,
        layers: tuple[int, int] | None,
        progress: Progress,
    ) -> None:
        self.db, self.source, self.level, self.dtype, self.progress = db, source, level, dtype, progress
        self.network = resolve(source.config)
        self.slots = _slots(source, self.network)
        first, last = layers or (0, self.network.layers - 1)
        if not 0 <= first <= last < self.network.layers:
            raise ProgrammingError(f"layers {first}-{last}: the model has layers 0-{self.network.layers - 1}")
        self.layers = range(first, last + 1)
        self.store = TensorStore(db)
        self.written: list[StoredTensor] = []
        # Preparing the embeddings costs about as much as four layers, the associations a quarter of the layers.
        self.steps = 5 + self.network.layers + len(self.layers) // 4 + 1

    def run(self) -> dict[str, Any]:
        """Write every table; the counts of the report."""
        self.progress("vocabulary", 0, self.steps)
        texts, special = self._write_tokens()
        for name, content in self.source.files.items():
            self.db.execute("INSERT INTO files VALUES (?, ?)", (name, content))
        release_memory()
        self.progress("embeddings", 1, self.steps)
        (embed_slot,) = (slot for slot in self.slots if slot.role == "embed")
        embed = self._store(embed_slot)
        writer = LayerWriter(self.db, embed, texts)
        for slot in self.slots:
            if slot.layer is None and slot.role != "embed":
                self._store(slot)
        with ThreadPoolExecutor(1) as pool:
            for measured in one_ahead(pool, self._read_layers(writer)):
                writer.write(measured)
                release_memory()
            found = bands(writer.profiles)
            self.db.executemany("UPDATE layers SET band = ? WHERE layer = ?", zip(found, self.layers, strict=True))
            fallbacks = writer.promoted.fallbacks
            del embed, writer
            release_memory()
            associations = Associations(self.db, self.network, self.store.weights("embed", None), texts, special)
            for answered in one_ahead(pool, self._read_gates(associations)):
                associations.write(*answered)
                release_memory()
        associations.finish()
        stated = self._write_model()
        self.progress("done", self.steps, self.steps)
        return {
            "architecture": self.network.family,
            "level": self.level,
            "fingerprint": stated,
            "layers": len(self.layers),
            "features": len(self.layers) * self.network.ffn,
            "tokens": self.network.vocab,
            "tensors": len(self.written),
            "edges": associations.edges,
            "rounding": self._rounding(),
            "fallbacks": fallbacks,
        }

    def _write_tokens(self) -> tuple[list[str], frozenset[int]]:
        """The vocabulary: texts by token, special tokens. Ids that only pad the embeddings have no text."""
        tokenizer = Tokenizer(self.source.files)
        ids, rows = tokenizer.size, self.network.vocab
        if ids > rows:
            raise BadModelFile(
                path=self.source.origin,
                problem=f"tokenizer.json has ids up to {ids - 1}, the embeddings only {rows} rows",
                remedy="Its files belong to different models; get it again",
            )
        texts, special = [*tokenizer.texts(), *([""] * (rows - ids))], tokenizer.special_ids
        self.db.executemany(
            "INSERT INTO tokens VALUES (?, ?, ?, ?)",
            ((i, text, tokenizer.piece(i), int(i in special or not text)) for i, text in enumerate(texts)),
        )
        return texts, special

    def _read_layers(self, writer: LayerWriter) -> Iterator[Callable[[], Measured]]:
        """Store the layers one by one; gives for each what is to be worked out of its features."""
        for layer in range(self.network.layers):
            self.progress(f"layer {layer}", 5 + layer, self.steps)
            arrays: dict[str, Array] = {}
            kept: dict[str, Array | None] = {}
            for slot in self.slots:
                if slot.layer == layer and slot.layout.roles[0] in DIRECTIONS:
                    keep = self._keeps(slot)
                    whole = self._read(slot, "features" if keep else "absent")
                    for role in slot.layout.roles:
                        part = slot.layout.part(whole, role)
                        arrays[role] = np.ascontiguousarray(part.T if role == "down" else part)  # [features, hidden]
                        kept[role] = arrays[role] if keep else None
                elif slot.layer == layer:
                    self._store(slot)
            if layer in self.layers:
                self.store.write_features(layer, kept)
                yield partial(writer.measure, layer, arrays["gate"], arrays.get("up"), arrays["down"])

    def _read_gates(self, associations: Associations) -> Iterator[Callable[[], tuple[int, list[int], list[float]]]]:
        """Read the layers' gates back; gives for each what is to be worked out of them."""
        first = 5 + self.network.layers
        for done, layer in enumerate(self.layers):
            self.progress(f"associations of layer {layer}", first + done // 4, self.steps)
            gate, norm = self.store.weights("gate", layer), as_float32(self.store.weights("ffn_norm", layer))
            yield partial(associations.measure, layer, gate, norm + np.float32(self.network.norm_offset))

    def _keeps(self, slot: TensorSlot) -> bool:
        """Whether the extract level and the layers asked for include a tensor."""
        if slot.layer is not None and slot.layer not in self.layers:
            return False
        if self.level == "browse":
            return any(role.removesuffix("_bias") in BROWSED for role in slot.layout.roles)
        return slot.role != "redundant" or self.level == "all"

    def _read(self, slot: TensorSlot, storage: str) -> Array:
        """Read a tensor in its stored dtype and write its row."""
        info = self.source.tensors[slot.name]
        dtype = stored_dtype(info, self.dtype)
        array, rounding = read_tensor(self.source, info, dtype)
        row = StoredTensor(
            slot.name, dtype, slot.shape, slot.layer, slot.role, storage, sha256(array), info.quantisation, rounding,
            slot.rows, slot.transposed,
        )  # fmt: skip
        self.store.add(row)
        self.written.append(row)
        return array

    def _store(self, slot: TensorSlot) -> Array:
        """Read a tensor and keep it whole, if the level includes it."""
        keep = self._keeps(slot)
        array = self._read(slot, "chunks" if keep else "absent")
        if keep:
            self.store.write_chunks(slot.name, array)
        return array

    def _rounding(self) -> float:
        return max((tensor.rounding or 0.0 for tensor in self.written), default=0.0)

    def _write_model(self) -> str:
        """The table ``model``; the fingerprint."""
        network = self.network
        config = self.source.files["config.json"]
        stated = fingerprint(self.written, config)
        quantisations = sorted({tensor.quantisation for tensor in self.written if tensor.quantisation})
        properties: dict[str, Any] = {
            "architecture": network.family,
            "source": self.source.origin,
            "source_format": self.source.format,
            "level": self.level,
            "fingerprint": stated,
            "layers": network.layers,
            "first_layer": self.layers.start,
            "last_layer": self.layers.stop - 1,
            "hidden_size": network.hidden,
            "ffn_size": network.ffn,
            "heads": network.heads,
            "kv_heads": network.kv_heads,
            "head_dim": network.head_dim,
            "vocabulary": network.vocab,
            "context": network.context,
            "tied_embeddings": int(network.tied),
            "parameters": sum(int(np.prod(slot.shape)) for slot in self.slots if slot.role != "redundant"),
            "quantisation": json.dumps(quantisations) if quantisations else None,
            "largest_rounding_error": self._rounding(),
            "bands_method": METHOD,
        }
        self.db.executemany("INSERT INTO model VALUES (?, ?)", properties.items())
        return stated


def one_ahead(pool: ThreadPoolExecutor, tasks: Iterable[Callable[[], T]]) -> Iterator[T]:
    """The tasks' results in order, the next being worked out in the pool while the caller handles the one before."""
    pending: Future[T] | None = None
    for task in tasks:
        following = pool.submit(task)
        if pending is not None:
            yield pending.result()
        pending = following
    if pending is not None:
        yield pending.result()


def release_memory() -> None:
    """Give freed memory back to the system.

    glibc keeps 370 MB of what loading Gemma 3's tokenizer took, and up to 100 MB more with every layer.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _slots(source: Source, network: Network) -> tuple[TensorSlot, ...]:
    """Every tensor of the source with its role; refuses what is missing, misshapen or unknown, by name."""
    slots = {slot.name: slot for slot in _named(source, tensors(network))}
    for slot in slots.values():
        info = source.tensors.get(slot.name)
        if info is None:
            raise BadModelFile(
                path=source.origin,
                problem=f"it holds no tensor {slot.name}, which its config.json implies",
                remedy="The model is incomplete; download or convert it again",
            )
        if info.shape != slot.shape:
            raise BadModelFile(
                path=source.origin,
                problem=f"tensor {slot.name} is {list(info.shape)}, its config.json implies {list(slot.shape)}",
                remedy="The config belongs to another model; get both again",
            )
        if info.dtype not in USER_NAMES.values():
            raise UnsupportedModel(
                what=f"tensor {slot.name} of dtype {info.dtype}",
                why=f"weights are read as {', '.join(USER_NAMES.values())}",
                remedy="Convert the model to one of these",
            )
    return (*slots.values(), *_redundant(source, slots))


def _named(source: Source, slots: Iterable[TensorSlot]) -> Iterator[TensorSlot]:
    """The slots by the names this source has: GPT-2's own files, and any saved without a head, leave a prefix out."""
    slots = tuple(slots)
    prefix = slots[0].name.partition(".")[0] + "."  # "model." or "transformer."
    bare = not any(name.startswith(prefix) for name in source.tensors)
    for slot in slots:
        yield replace(slot, name=slot.name.removeprefix(prefix)) if bare else slot


def _redundant(source: Source, known: dict[str, TensorSlot]) -> Iterator[TensorSlot]:
    for name, info in source.tensors.items():
        if name in known:
            continue
        if not name.endswith(REDUNDANT):
            raise UnsupportedModel(
                what=f"tensor {name}",
                why="the architecture named in config.json has no such tensor, so its maths would be ignored",
                remedy="Check that config.json belongs to this model",
            )
        yield TensorSlot(name, "redundant", None, info.shape)
