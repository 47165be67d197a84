"""One model, layer by layer, into the tables of a new vindex.

Only the embeddings and one layer's tensors are in memory at a time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import BadModelFile, ProgrammingError, UnsupportedModel
from larqldb.extract import LEVELS, ExtractReport, Progress
from larqldb.extract.bands import METHOD, bands
from larqldb.extract.convert import read_tensor, stored_dtype
from larqldb.extract.features import LayerWriter
from larqldb.extract.sources import Source, open_source
from larqldb.model.architectures import resolve, tensors
from larqldb.model.network import NORMS, Network, TensorSlot
from larqldb.model.tokenizer import Tokenizer
from larqldb.storage.checksums import fingerprint
from larqldb.storage.dtypes import USER_NAMES
from larqldb.storage.new_file import new_vindex
from larqldb.storage.tensors import DIRECTIONS, StoredTensor, TensorStore, sha256

if TYPE_CHECKING:
    import apsw

Array = np.ndarray[Any, Any]

# Tensors that some files carry though they follow from others, by how their names end; kept, never used.
REDUNDANT = ("rotary_emb.inv_freq", "lm_head.weight", "masked_bias")
BROWSED = NORMS | {"embed", "gate"}  # the roles stored at level browse


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
        extraction = _Extraction(db, opened, level, USER_NAMES[dtype] if dtype else None, layers, progress)
        counts = extraction.run()
    return ExtractReport(
        path=os.fspath(path), bytes=Path(path).stat().st_size, seconds=time.perf_counter() - started, **counts
    )


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
        self.tokenizer = Tokenizer(source.files)
        ids, rows = self.tokenizer.size, self.network.vocab
        if ids > rows:
            raise BadModelFile(
                path=source.origin,
                problem=f"tokenizer.json has ids up to {ids - 1}, the embeddings only {rows} rows",
                remedy="Its files belong to different models; get it again",
            )
        self.store = TensorStore(db)
        self.written: list[StoredTensor] = []
        self.steps = self.network.layers + 6  # preparing the embeddings costs about as much as four layers

    def run(self) -> dict[str, Any]:
        """Write every table; the counts of the report."""
        self.progress("vocabulary", 0, self.steps)
        texts = self._write_tokens()
        for name, content in self.source.files.items():
            self.db.execute("INSERT INTO files VALUES (?, ?)", (name, content))
        self.progress("embeddings", 1, self.steps)
        (embed_slot,) = (slot for slot in self.slots if slot.role == "embed")
        embed = self._store(embed_slot)
        writer = LayerWriter(self.db, embed, texts, self.tokenizer.special_ids)
        for slot in self.slots:
            if slot.layer is None and slot.role != "embed":
                self._store(slot)
        for layer in range(self.network.layers):
            self.progress(f"layer {layer}", 5 + layer, self.steps)
            self._write_layer(layer, writer)
        self.progress("knowledge", self.steps - 1, self.steps)
        found = bands(writer.profiles)
        self.db.executemany("UPDATE layers SET band = ? WHERE layer = ?", zip(found, self.layers, strict=True))
        writer.write_entities()
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
            "edges": writer.edges,
            "rounding": self._rounding(),
            "fallbacks": writer.fallbacks,
        }

    def _write_tokens(self) -> list[str]:
        """The vocabulary; ids beyond the tokenizer's, which only pad the embeddings, have no text."""
        padding = self.network.vocab - self.tokenizer.size
        texts = [*self.tokenizer.texts(), *([""] * padding)]
        special = self.tokenizer.special_ids
        self.db.executemany(
            "INSERT INTO tokens VALUES (?, ?, ?, ?)",
            ((i, text, self.tokenizer.piece(i), int(i in special or not text)) for i, text in enumerate(texts)),
        )
        return texts

    def _write_layer(self, layer: int, writer: LayerWriter) -> None:
        """Store a layer's tensors and, if it was asked for, its features."""
        wanted = layer in self.layers
        arrays: dict[str, Array] = {}
        for slot in self.slots:
            if slot.layer != layer:
                continue
            if slot.role in DIRECTIONS:
                arrays[slot.role] = self._read(slot, "features" if self._keeps(slot) else "absent")
            elif slot.role == "ffn_norm":
                arrays["ffn_norm"] = self._store(slot)
            else:
                self._store(slot)
        if not wanted:
            return
        down = np.ascontiguousarray(arrays["down"].T)  # [features, hidden]
        kept = {"gate": arrays["gate"]}
        if self.level != "browse":
            kept |= {"up": arrays["up"], "down": down}
        self.store.write_features(layer, kept)
        norm = arrays["ffn_norm"].astype(np.float32) + np.float32(self.network.norm_offset)
        writer.write(layer, arrays["gate"], arrays["up"], down, norm)

    def _keeps(self, slot: TensorSlot) -> bool:
        """Whether the extract level and the layers asked for include a tensor."""
        if slot.layer is not None and slot.layer not in self.layers:
            return False
        if self.level == "browse":
            return slot.role in BROWSED
        return slot.role != "redundant" or self.level == "all"

    def _read(self, slot: TensorSlot, storage: str) -> Array:
        """Read a tensor in its stored dtype and write its row."""
        info = self.source.tensors[slot.name]
        dtype = stored_dtype(info, self.dtype)
        array, rounding = read_tensor(self.source, info, dtype)
        row = StoredTensor(
            slot.name, dtype, slot.shape, slot.layer, slot.role, storage, sha256(array), info.quantisation, rounding
        )
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


def _slots(source: Source, network: Network) -> tuple[TensorSlot, ...]:
    """Every tensor of the source with its role; refuses what is missing, misshapen or unknown, by name."""
    slots = {slot.name: slot for slot in tensors(network)}
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
    return (*slots.values(), *_redundant(source, slots))


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
