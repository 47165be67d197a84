"""COMPILE … INTO MODEL: a vindex with its edits as a Hugging Face directory or a GGUF file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from larqldb.compile import safetensors
from larqldb.compile.card import card
from larqldb.compile.encoding import BLOCKS, FLOATS, TYPES, Encoding
from larqldb.compile.outcomes import EXACT, NOT_ASKED, unasked
from larqldb.compile.state import bake
from larqldb.compile.unused import LeastUsed
from larqldb.errors import CannotCompile, DamagedVindex, ProgrammingError
from larqldb.storage.outputs import new_output

if TYPE_CHECKING:
    from larqldb.compile.outcomes import Outcome
    from larqldb.compile.state import BakedModel
    from larqldb.functions.session import Session

FORMATS = ("safetensors", "gguf")
SLOTS = ("grow", "replace")


class Row(NamedTuple):
    """A thing that was written: what, where, how many, and for files their bytes, for facts their probability."""

    what: str
    where: str
    how_many: int | None = None
    bytes: int | None = None
    probability: float | None = None
    note: str | None = None


def compile_model(
    session: Session,
    target: str | os.PathLike[str],
    *,
    form: str | None = None,
    quant: str | None = None,
    slots: str = "grow",
    texts: Callable[[], Sequence[Sequence[int]]] | None = None,
    ask: bool = True,
    shard_bytes: int = safetensors.SHARD_BYTES,
) -> list[Row]:
    """Write the model with the edits in effect at ``target``, which appears there only when it is whole.

    ``form`` is "safetensors" or "gguf"; without it the target's ending decides. ``quant`` is the type of the matrices
    (``encoding.TYPES``, in any case), None: their own. ``slots`` "replace" gives up the features that contribute least
    to what the base model makes of ``texts`` (token ids); "grow" makes layers wider. ``ask``: whether inserted facts
    are asked again where numbers were rounded. The caller sees to it that the vindex does not change meanwhile.

    Raises CannotCompile, BadPatch, MissingPart, BadTensor, OutputExists, OutputBusy, OutputFailed, or ProgrammingError
    for an argument that is none of these.
    """
    path, form = _place(target, form)
    wanted = _type(quant, form)
    if slots not in SLOTS:
        raise ProgrammingError(f"SLOTS must be one of {', '.join(SLOTS).upper()}, not {slots!r}")
    with new_output(path, folder=form == "safetensors") as partial:
        victims = LeastUsed(session, texts() if texts is not None else ()) if slots == "replace" else None
        model = bake(session, victims)
        encoding = Encoding(wanted, "F32" if form == "gguf" else None)
        exact = _is_exact(model, encoding) and not any(each.given_up for each in model.slots.values())
        if exact or not ask:
            outcomes = unasked(session, EXACT if exact else NOT_ASKED)
        else:
            from larqldb.compile.facts import settle

            encoding, outcomes = settle(session, model, encoding)
        how = _how(model, encoding, victims)
        rows = [*_given_up(model, victims)] if victims is not None else []
        if form == "gguf":
            from larqldb.compile import gguf_file
            from larqldb.compile.gguf_metadata import differences

            how += differences(model.network)
            count = gguf_file.write(model, partial, encoding, str(session.model["source"]))
            written = [Row("model", str(path), count, partial.stat().st_size, note=" ".join(how) or None)]
        else:
            written = _directory(session, model, partial, path, encoding, outcomes, how, shard_bytes)
    return [*written, *rows, *map(_fact, outcomes)]


def _directory(
    session: Session, model: BakedModel, partial: Path, path: Path, encoding: Encoding, outcomes: Sequence[Outcome],
    how: list[str], shard_bytes: int,
) -> list[Row]:  # fmt: skip
    """A Hugging Face directory; its rows, the whole first."""
    files = safetensors.write_tensors(model, partial, encoding, shard_bytes=shard_bytes)
    rows = [Row("file", str(path / file.name), file.tensors, file.bytes) for file in files]
    config = model.config
    if session.model["source_format"] == "gguf":
        config = _with_dtype(config, encoding.wanted)
    text = card(session, model, outcomes, how)
    for name, content in {**model.files, "config.json": config, "README.md": text.encode()}.items():
        if Path(name).name != name or (partial / name).exists():  # it would land elsewhere, or in a tensor's place
            raise DamagedVindex(path=session.db.filename or "the database", problem=f"it holds a file named {name!r}")
        (partial / name).write_bytes(content)
        rows.append(Row("file", str(path / name), None, len(content)))
    total = sum(row.bytes or 0 for row in rows)
    count = sum(row.how_many or 0 for row in rows)
    return [Row("model", str(path), count, total, note=" ".join(how) or None), *rows]


def _place(target: str | os.PathLike[str], form: str | None) -> tuple[Path, str]:
    """Where to write, and in which format."""
    path = Path(target)
    form = form or ("gguf" if path.suffix == ".gguf" else "safetensors")
    if form not in FORMATS:
        raise ProgrammingError(f"FORMAT must be one of {', '.join(FORMATS).upper()}, not {form!r}")
    if form == "gguf" and path.suffix != ".gguf":
        path = path.with_name(f"{path.name}.gguf")
    return path, form


def _type(quant: str | None, form: str) -> str | None:
    if quant is None:
        return None
    wanted = quant.upper()
    if wanted not in TYPES:
        raise ProgrammingError(f"QUANT must be one of {', '.join(TYPES)}, not {quant!r}")
    if form == "safetensors" and wanted in BLOCKS:
        raise CannotCompile(
            what=f"{wanted} as safetensors", why="these files hold plain numbers",
            remedy=f"Use FORMAT GGUF, or one of {', '.join(FLOATS)}",
        )  # fmt: skip
    return wanted


def _is_exact(model: BakedModel, encoding: Encoding) -> bool:
    """Whether every number is written as it is: in its own dtype, or in float32."""
    return all(
        encoding.type(tensor, model.dtype(tensor), model.shape(tensor)) in (model.dtype(tensor), "F32")
        for tensor in model.store.tensors()
        if tensor.role != "redundant"
    )


def _how(model: BakedModel, encoding: Encoding, victims: LeastUsed | None) -> list[str]:
    """Sentences about the way a model was compiled."""
    found = []
    if model.grown:
        found.append(f"Layers have {model.network.ffn:,} features instead of {model.base.ffn:,}.")
    if victims is not None:
        count = sum(len(slots.given_up) for slots in model.slots.values())
        found.append(f"{count:,} of the model's own features were given up for those that were added.")
    kept = {tensor.layer: tensor.dtype for tensor in model.store.tensors() if model.dtype(tensor) != tensor.dtype}
    if kept and encoding.wanted is None:
        layers, dtype = ", ".join(map(str, kept)), next(iter(kept.values()))
        found.append(f"The features of layer {layers} are F32: {dtype} could not hold what was added exactly.")
    if encoding.finer:
        layers, kind = ", ".join(map(str, encoding.finer)), next(iter(encoding.finer.values()))
        found.append(f"The features of layer {layers} are kept in {kind}: {encoding.wanted} would lose a fact.")
    return found


def _given_up(model: BakedModel, victims: LeastUsed) -> Iterator[Row]:
    """A row for each layer whose own features lost their slots."""
    for layer, slots in model.slots.items():
        if slots.given_up:
            note = f"features given up; they made {victims.shares[layer]:.2g} of what the layer's features contribute"
            yield Row("slots", f"layer {layer}", len(slots.given_up), note=note)


def _with_dtype(config: bytes, wanted: str | None) -> bytes:
    """config.json that says which dtype to load in, where it does not; float32 holds whatever a GGUF came with."""
    whole = json.loads(config)
    if "torch_dtype" in whole or "dtype" in whole:
        return config
    whole["torch_dtype"] = {"F16": "float16", "BF16": "bfloat16"}.get(wanted or "", "float32")
    return (json.dumps(whole, ensure_ascii=False, indent=2) + "\n").encode()


def _fact(outcome: Outcome) -> Row:
    survived = None if outcome.survived is None else int(outcome.survived)
    where = f"{outcome.entity} {outcome.relation} {outcome.target}"
    return Row("fact", where, survived, None, outcome.probability, outcome.note)
