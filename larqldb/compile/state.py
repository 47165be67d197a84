"""What a model with its edits consists of as a model of its own: the base's features, changed in place, and added ones.

A feature that an edit takes away leaves an empty slot: zeros, which add nothing. A feature that an edit adds stands
behind the base's own, in the order in which patches act; all layers are made as wide as the widest needs, with zeros,
to a multiple of 32. Where the empty slots hold everything that is added to a layer, or ``SLOTS REPLACE`` names slots to
give up, added features go there instead and no layer grows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import BadPatch, CannotCompile
from larqldb.model.architectures import FAMILIES, resolve
from larqldb.storage import edits
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY, as_float32
from larqldb.storage.parts import NETWORK, missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.functions.edits import Live
    from larqldb.functions.session import Session
    from larqldb.model.network import Network
    from larqldb.storage.tensors import StoredTensor, TensorStore

    Array = NDArray[Any]

MULTIPLE = 32  # numbers that share a scale in GGUF's block formats
WIDEST = 1 << 20  # features of a layer that config.json can state, for larqldb to read it again
FFN = frozenset({"gate", "up", "down", "gate_bias", "up_bias"})  # the roles whose shape the width is part of
SIZE = "intermediate_size"

Victims = Callable[[int, int], list[int]]
"""(layer, how many) → the base's own features to give up, none of them taken away by an edit already."""


@dataclass(frozen=True)
class Slots:
    """Where a layer's features stand once compiled: ``emptied`` slots become zero, then added features take ``places``.

    ``places`` are in the order of the layer's ``LayerEdits`` and of ``Live.numbers``; ``given_up`` are those of the
    base's own features that lost their slot to an added one.
    """

    places: tuple[int, ...] = ()
    emptied: tuple[int, ...] = ()
    given_up: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class BakedModel:
    """A model with its edits in its weights. ``base`` is the network without them, ``network`` the one that results.

    ``slots`` holds the layers that differ from the base by more than zeros behind their features.
    """

    store: TensorStore
    base: Network
    network: Network
    live: Live
    slots: Mapping[int, Slots]
    files: Mapping[str, bytes]

    @property
    def grown(self) -> bool:
        """Whether layers are wider than the base's."""
        return self.network.ffn != self.base.ffn

    @cached_property
    def config(self) -> bytes:
        """config.json: the model's own, byte for byte, where the width is the same."""
        config = self.files["config.json"]
        return widened(config, self.network.ffn) if self.grown else config

    def changes(self, tensor: StoredTensor) -> bool:
        """Whether a tensor differs from the base's."""
        of_features = not FFN.isdisjoint(tensor.layout.roles)
        return of_features and (self.grown or tensor.layer in self.slots)

    def shape(self, tensor: StoredTensor) -> tuple[int, ...]:
        """A tensor's shape, as the source has it but for the width."""
        if not self.grown or FFN.isdisjoint(tensor.layout.roles):
            return tensor.shape
        sizes = [self.network.shape(role) for role in tensor.layout.roles]
        whole = (sum(size[0] for size in sizes), *sizes[0][1:])
        return whole[::-1] if tensor.transposed else whole

    def dtype(self, tensor: StoredTensor) -> str:
        """A tensor's dtype: the base's, but F32 where added features could not be held exactly."""
        if tensor.layer is None or tensor.layer not in self.slots:
            return tensor.dtype
        held = NUMPY[tensor.dtype]
        added = (self.live.vectors(role, tensor.layer) for role in tensor.layout.roles if not role.endswith("_bias"))
        with np.errstate(over="ignore"):
            exact = all(array is None or np.array_equal(as_float32(array.astype(held)), array) for array in added)
        return tensor.dtype if exact else "F32"

    def weights(self, role: str, layer: int | None) -> Array:
        """What ``TensorStore.weights`` gives, with the edits in it: [out, in], ``down`` feature-major [ffn, hidden].

        Raises MissingPart where the vindex does not hold it, KeyError where the model has no such tensor.
        """
        base = self.store.weights(role, layer)
        if layer is None or role not in FFN or not (self.grown or layer in self.slots):
            return base
        found = self.store.find(role, layer)
        assert found is not None
        dtype = NUMPY[self.dtype(found.tensor)]
        slots, added = self.slots.get(layer, Slots()), self.live.vectors(role, layer)
        made = np.zeros((self.network.ffn, *base.shape[1:]), dtype)
        made[: len(base)] = base
        made[[*slots.emptied, *slots.places]] = 0
        if added is not None:  # biases of added features are 0
            made[list(slots.places)] = added
        return made

    def read(self, tensor: StoredTensor) -> Array:
        """A tensor with the edits in it, in the dtype and shape that ``dtype`` and ``shape`` say; may be a view."""
        if not self.changes(tensor):
            return self.store.read(tensor)
        layout = tensor.layout
        parts = {role: self.weights(role, tensor.layer) for role in layout.roles}
        return layout.join({role: part.T if role == "down" else part for role, part in parts.items()})


def bake(session: Session, victims: Victims | None = None) -> BakedModel:
    """The model of a session with the edits in effect, as one model without edits.

    ``victims`` chooses slots to give up where added features find no empty one; without it layers grow. Raises
    CannotCompile for key/value rows, which model files have no place for, and for a width that cannot be held; BadPatch
    for a patch in effect that was made for another model; MissingPart where the vindex does not hold all tensors.
    """
    session.model  # noqa: B018 - raises where there is none
    absent = next((tensor for tensor in session.store.tensors() if tensor.storage == "absent"), None)
    if absent is not None:
        session.require("all", "COMPILE", f"tensor {absent.name}")
        raise missing(session.db, "COMPILE", NETWORK)
    check_patches(session)
    names = [name for (name,) in fetch(session.db, "SELECT name FROM files")]
    return baked(session.store, session.network, session.live, session.files(*names), victims)


def baked(
    store: TensorStore, network: Network, live: Live, files: Mapping[str, bytes], victims: Victims | None = None
) -> BakedModel:
    """As ``bake``, of any edits: those that ``larqldb.functions.edits.live`` makes of chosen operations, say."""
    if live.edits.rows:
        facts = [op for ops in live.rows.values() for op in ops]
        raise CannotCompile(
            what=f"{facts[0].entity} {facts[0].relation} {facts[0].target}, inserted with MODE KNN,",
            why="a row that is looked up by key has no place in a model's own tensors",
            remedy="Run COMPACT MINOR first: it composes features for such facts",
        )
    layers = sorted(live.numbers.keys() | {layer for layer, _ in live.edits.removed})
    removed = {layer: live.removed(layer) for layer in layers}
    counts = {layer: len(live.numbers.get(layer, ())) for layer in layers}
    in_place = victims is not None or all(counts[layer] <= len(removed[layer]) for layer in layers)
    slots = {}
    for layer in layers:
        if in_place:
            short = max(0, counts[layer] - len(removed[layer]))
            given_up = victims(layer, short) if victims is not None and short else []
            places = (*removed[layer], *given_up)[: counts[layer]]
        else:
            given_up, places = [], tuple(range(network.ffn, network.ffn + counts[layer]))
        slots[layer] = Slots(tuple(places), tuple(removed[layer]), tuple(given_up))
    width = network.ffn if in_place else _rounded(network.ffn + max(counts.values()))
    if width > WIDEST:
        raise CannotCompile(
            what=f"a layer of {width:,} features", why=f"config.json may state {WIDEST:,} at most",
            remedy="Take patches out of effect with REMOVE PATCH, or use SLOTS REPLACE",
        )  # fmt: skip
    made = BakedModel(store, network, replace(network, ffn=width), live, slots, files)
    if made.grown and resolve(json.loads(made.config)) != made.network:
        raise CannotCompile(
            what=f"{SIZE} = {width}", why="config.json states sizes that do not follow from one number",
            remedy="Use SLOTS REPLACE, which keeps the width",
        )  # fmt: skip
    return made


def check_patches(session: Session) -> None:
    """Raise BadPatch where a patch in effect was made for another model."""
    for patch in edits.patches(session.db):
        if patch.active and patch.base_fingerprint != session.model["fingerprint"]:
            raise BadPatch(
                path=f"patch {patch.patch}",
                problem="it was made for another model than the one this vindex holds",
                remedy="Take it out of effect with REMOVE PATCH",
            )


def widened(config: bytes, width: int) -> bytes:
    """config.json with another number of features in each layer; everything else stays, in its order."""
    whole = json.loads(config)
    part = whole["text_config"] if whole.get("model_type") == "gemma3" else whole
    own = FAMILIES[part.get("model_type", "gemma3_text")].SPELLINGS.get(SIZE, SIZE)
    for name in {name for name in (SIZE, own) if name in part} or {own}:
        part[name] = width
    return (json.dumps(whole, ensure_ascii=False, indent=2) + "\n").encode()


def _rounded(count: int) -> int:
    return -(-count // MULTIPLE) * MULTIPLE
