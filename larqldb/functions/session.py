"""What functions on a connection share: the model's properties, tokenizer, vectors and network, loaded when needed."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from larqldb.errors import MissingPart, ProgrammingError
from larqldb.functions import edits
from larqldb.functions.walking import Walking
from larqldb.model.norms import unit
from larqldb.storage import edits as stored_edits
from larqldb.storage import parts
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY, as_float32
from larqldb.storage.tensors import TensorStore
from larqldb.storage.vectors import VectorIndex, largest_norm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import apsw
    from numpy.typing import NDArray

    from larqldb.functions.ahead import Ahead
    from larqldb.functions.edits import Live, Silence
    from larqldb.functions.gate_scan import GateScan
    from larqldb.model.interventions import Change
    from larqldb.model.network import Network
    from larqldb.model.runner import Runner
    from larqldb.model.tokenizer import Tokenizer

STATES = 4  # of the network, as edits make it, that are kept: going back to one costs nothing
NO_MODEL = 'this vindex holds no model. Extract one with: EXTRACT MODEL "source" INTO "name.vindex", and USE that'

# by fingerprint and precision, for the whole process
_runners: WeakValueDictionary[tuple[str, str], Runner] = WeakValueDictionary()
_loading = Lock()


class Session:
    """The model behind one connection. Weights are shared by the sessions of a process that have the same base.

    ``cache_mb`` bounds what feature vectors may take in memory between statements; ``walk`` is that of ``connect``.
    ``precision`` is what weights are held in when the whole network runs (``larqldb.model.quantise``).
    """

    def __init__(
        self,
        db: apsw.Connection,
        *,
        cache_mb: int = 256,
        walk: int | float | None = None,
        precision: str = "float32",
    ) -> None:
        self.db = db
        self.precision = precision
        self.store = TensorStore(db)
        self.cache_bytes = cache_mb << 20
        self.lacking = parts.lacking(db)  # the tables and functions that need parts which a slice lacks, with those
        self.vectors = VectorIndex(db)
        self.walking = Walking(self, walk)
        self.ahead: Ahead | None = None  # set where the statement that runs is seen to ask infer() for many prompts
        self._matrices: OrderedDict[tuple[str, int], NDArray[np.float32]] = OrderedDict()
        self._norms: dict[tuple[str, int | None], NDArray[np.float32]] = {}
        self._largest: dict[tuple[str, int], float] = {}
        self._scan_bytes, self._asked_for_scan = 0, False
        self.interventions: list[Sequence[Change | Silence]] = []  # those that last while a block runs, in their order
        self._live: OrderedDict[int, Live] = OrderedDict()  # by stamp
        self._states: OrderedDict[tuple[int, ...], tuple[Live, tuple[Sequence[Change | Silence], ...], Runner]] = (
            OrderedDict()
        )

    @cached_property
    def model(self) -> dict[str, Any]:
        """The table ``model``; ProgrammingError where there is no model."""
        properties = dict(fetch(self.db, "SELECT key, value FROM model"))
        if "fingerprint" not in properties:
            raise ProgrammingError('this vindex holds no model yet. Fill one with: EXTRACT MODEL "source" INTO "name"')
        return properties

    @cached_property
    def network(self) -> Network:
        """The architecture that config.json describes."""
        from larqldb.model.architectures import resolve

        return resolve(json.loads(self._file("config.json")))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer."""
        from larqldb.model.tokenizer import Tokenizer

        return Tokenizer(self.files("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"))

    @cached_property
    def end_of_text(self) -> frozenset[int]:
        """The ids of the tokens that end a text."""
        from larqldb.model.generation import end_of_text

        files = self.files("tokenizer_config.json", "config.json", "generation_config.json")
        return end_of_text(files, self.tokenizer)

    @cached_property
    def base_runner(self) -> Runner:
        """The network without edits, its weights loaded; MissingPart where the vindex does not hold them all."""
        from larqldb.model.runner import Runner

        self.require("inference", "INFER", "attention weights and feature vectors of all layers")
        key = str(self.model["fingerprint"]), self.precision
        with _loading:
            runner = _runners.get(key)
            if runner is None:
                runner = _runners[key] = Runner(self.network, self.store.weights, precision=self.precision)
        return runner

    @property
    def live(self) -> Live:
        """The edits in effect, as the open transaction sees them."""
        stamp = stored_edits.stamp(self.db)
        if stamp not in self._live:
            operations = stored_edits.in_effect(self.db) if stamp else []
            file = self.db.filename or "the database"
            self._live[stamp] = edits.live(self.network, operations, file) if operations else edits.NONE
            while len(self._live) > STATES:
                self._live.popitem(last=False)
        self._live.move_to_end(stamp)
        return self._live[stamp]

    @property
    def runner(self) -> Runner:
        """The network with the edits in effect and what interventions change; errors as of ``base_runner``.

        The same object as long as nothing changes, and again when a change is taken back.
        """
        live, changes = self.live, tuple(self.interventions)
        if not live.edits and not changes:
            return self.base_runner
        key = (id(live), *map(id, changes))
        if key not in self._states:
            from larqldb.model.edited import edited
            from larqldb.model.interventions import changed

            runner = edited(self.base_runner, live.without(self.silenced))
            made = [change for several in changes for change in several if not isinstance(change, edits.Silence)]
            if made:
                runner = changed(runner, made)
            self._states[key] = live, changes, runner  # kept with what the key names, so that no other can have its id
            while len(self._states) > STATES:
                self._states.popitem(last=False)
        self._states.move_to_end(key)
        return self._states[key][2]

    @property
    def silenced(self) -> frozenset[tuple[int, int]]:
        """The added features, by layer and number, that interventions leave out of ``runner``."""
        changes = [change for several in self.interventions for change in several]
        return frozenset((one.layer, one.feature) for one in changes if isinstance(one, edits.Silence))

    def look_ahead(self, query: str | None, bindings: Sequence[Any] | Mapping[str, Any]) -> None:
        """Expect the prompts that a query gives to be asked of infer() by the statement that starts; None: no more."""
        if query is None:
            self.ahead = None
        else:
            from larqldb.functions.ahead import Ahead

            self.ahead = Ahead(self, query, bindings)

    @property
    def layers(self) -> range:
        """The layers whose features the file holds."""
        return range(self.model["first_layer"], self.model["last_layer"] + 1)

    def require(self, level: str, statement: str, part: str) -> None:
        """Raise MissingPart unless the file was extracted at ``level`` or above, with every layer."""
        order = ("browse", "inference", "all")
        whole = len(self.layers) == self.model["layers"]
        if order.index(self.model["level"]) < order.index(level) or not whole:
            raise MissingPart(
                statement=statement,
                part=part,
                remedy=parts.remedy(self.db, parts.NETWORK)
                or f"Extract it again: larqldb extract {self.model['source']} -o NAME.vindex --level {level}",
            )

    def layer_range(self, first: object, last: object, within: tuple[int, int] | None = None) -> range:
        """The layers from first to last (None: no bound) that the file holds; ProgrammingError outside the model.

        ``within`` narrows silently, as a WHERE clause does.
        """
        held = self.layers
        for bound in (first, last):
            if bound is not None and (not isinstance(bound, int) or bound not in held):
                raise ProgrammingError(f"there is no layer {bound!r}: this vindex holds layers {held[0]}-{held[-1]}")
        start = held[0] if first is None else int(str(first))
        stop = held[-1] if last is None else int(str(last))
        low, high = within or (start, stop)
        return range(max(start, low), min(stop, high) + 1)

    def embedding(self, ids: list[int]) -> NDArray[np.float32]:
        """Input embeddings of tokens, float32 [tokens, hidden], unscaled."""
        return as_float32(self.store.read_rows("embed", ids))

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """All input embeddings, float32 [vocab, hidden], unscaled: the network's own copy where it is loaded."""
        return self._whole("embed")

    @property
    def head(self) -> NDArray[np.float32]:
        """What the last residual, normed, is multiplied by: float32 [vocab, hidden]."""
        return self._whole("embed" if self.network.tied else "head")

    def _whole(self, role: str) -> NDArray[np.float32]:
        runner = _runners.get((str(self.model["fingerprint"]), self.precision))
        loaded = runner.weights.get(role) if runner is not None else None
        if loaded is not None and loaded.data_type() == "tensor(float)":
            return np.asarray(loaded.numpy())
        return as_float32(self.store.weights(role, None))

    def norm(self, role: str, layer: int | None) -> NDArray[np.float32]:
        """What a norm multiplies by, float32 [hidden]: its weight plus the architecture's offset."""
        key = (role, layer)
        if key not in self._norms:
            self._norms[key] = as_float32(self.store.weights(role, layer)) + np.float32(self.network.norm_offset)
        return self._norms[key]

    def bias(self, role: str, layer: int | None) -> NDArray[np.float32] | None:
        """The bias of a role, float32 [out]; None where it has none."""
        if role not in self.network.biases:
            return None
        key = (f"{role}_bias", layer)
        if key not in self._norms:
            self._norms[key] = as_float32(self.store.weights(*key))
        return self._norms[key]

    def unit(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """An embedding [hidden] as the network's norms scale it: to mean square 1."""
        return unit(self.network, embedding * np.float32(self.network.embed_scale))

    def enter(self, embedding: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
        """An embedding [hidden] as the layer's FFN receives it: scaled, times the weights of the norm before it."""
        x, bias = self.unit(embedding) * self.norm("ffn_norm", layer), self.bias("ffn_norm", layer)
        return x if bias is None else x + bias

    def entering(self, residual: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
        """Residuals [..., hidden] as the layer's FFN receives them."""
        x, bias = unit(self.network, residual) * self.norm("ffn_norm", layer), self.bias("ffn_norm", layer)
        return x if bias is None else x + bias

    def matrix(self, role: str, layer: int) -> NDArray[np.float32]:
        """A layer's gate, up or down vectors, float32 [features, hidden]; the latest used are kept in memory."""
        key = (role, layer)
        if key in self._matrices:
            self._matrices.move_to_end(key)
            return self._matrices[key]
        matrix = as_float32(self.store.weights(role, layer))
        self._matrices[key] = matrix
        self._make_room()
        return matrix

    def features(self, role: str, layer: int) -> NDArray[np.float32]:
        """The gate, up or down vectors of a layer, those of added features behind its own: [features + n, hidden]."""
        matrix, added = self.matrix(role, layer), self.live.vectors(role, layer)
        return matrix if added is None else np.concatenate([matrix, added])

    def numbers(self, layer: int, places: Sequence[int]) -> list[int]:
        """What features are numbered that stand at these places in ``features``."""
        own, added = self.network.ffn, self.live.numbers.get(layer, [])
        return [place if place < own else added[place - own] for place in places]

    def feature_bias(self, role: str, layer: int) -> NDArray[np.float32] | None:
        """The bias of a layer's gates or ups [features + n]: 0 for added features; None where it has none."""
        bias, added = self.bias(role, layer), self.live.vectors("gate", layer)
        return bias if bias is None or added is None else np.append(bias, np.zeros(len(added), np.float32))

    def largest_norm(self, role: str, layer: int) -> float:
        """The largest L2 norm among a layer's gate, up or down vectors, those of added features too."""
        added = self.live.vectors(role, layer)
        own = self._largest_of_own(role, layer)
        return own if added is None else max(own, largest_norm(added))

    def _largest_of_own(self, role: str, layer: int) -> float:
        key = (role, layer)
        if key not in self._largest:
            self._largest[key] = largest_norm(self.matrix(role, layer))
        return self._largest[key]

    def gate_scan(self) -> GateScan | None:
        """The gates of all layers in 8 bits, and in float32 where there is room; None where there is none.

        None the first time, too: preparing it takes longer than one question without it.
        """
        if not self._asked_for_scan:
            self._asked_for_scan = True
            return None
        return self._gate_scan

    @cached_property
    def _gate_scan(self) -> GateScan | None:
        stored = self.store.find("gate", self.layers[0])
        assert stored is not None
        numbers = math.prod(stored.shape) * len(self.layers)
        keep = numbers * 5 <= self.cache_bytes  # in float32 beside the 8 bits
        size = numbers * (5 if keep else 1)
        if size > self.cache_bytes:
            return None
        self._scan_bytes = size
        self._make_room()
        from larqldb.functions.gate_scan import GateScan

        norms = np.stack([self.norm("ffn_norm", layer) for layer in self.layers])
        return GateScan(self.layers, norms, partial(self.store.weights, "gate"), self.gates, keep=keep)

    def gates(self, layer: int, features: list[int]) -> NDArray[np.float32]:
        """Some gate vectors of a layer, float32 [features, hidden], read from the file."""
        stored = self.store.find("gate", layer)
        assert stored is not None
        rows = fetch(
            self.db,
            "SELECT v.feature, v.gate FROM json_each(?2) AS wanted "
            "CROSS JOIN feature_vectors AS v ON v.layer = ?1 AND v.feature = wanted.value",
            (layer, json.dumps(features)),
        )
        found = dict(rows)
        joined = np.frombuffer(b"".join(found[feature] for feature in features), NUMPY[stored.dtype])
        return as_float32(joined.reshape(len(features), self.network.hidden))

    def _make_room(self) -> None:
        """Drop the matrices used longest ago until what is kept fits ``cache_bytes``; the last one always stays."""
        held = self._scan_bytes + sum(kept.nbytes for kept in self._matrices.values())
        while held > self.cache_bytes and len(self._matrices) > 1:
            held -= self._matrices.popitem(last=False)[1].nbytes

    def files(self, *names: str) -> dict[str, bytes]:
        """Those of the named files that the model came with."""
        marks = ", ".join("?" * len(names))
        return dict(fetch(self.db, f"SELECT name, content FROM files WHERE name IN ({marks})", names))

    def _file(self, name: str) -> bytes:
        row = self.db.execute("SELECT content FROM files WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise MissingPart(statement="this", part=name, remedy="Extract the model again")
        return bytes(row[0])
