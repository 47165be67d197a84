"""Which features of many layers answer strongly to one input: 8-bit products of all gates propose, float64 decides.

An input enters layer l as x_l = u ∘ w_l, with u of mean square 1 and w_l the weights of the layer's norm. With w_l
folded into the gates every layer sees the same u, so that one matrix-vector product serves them all. The folded gates
g are rounded to 8 bits, ĝ, and u to two 7-bit digits, û; ONNX Runtime multiplies those exactly, reading a quarter of
what float32 reads. By Cauchy–Schwarz

    |g·u − ĝ·û| ≤ ‖g − ĝ‖·‖u‖ + ‖ĝ‖·‖u − û‖

so the features whose ĝ·û plus this bound reaches a layer's threshold include all that reach it in truth; those few are
computed again, in float32 and, what is left within its rounding, in float64. Nothing is missed, whatever the weights.

Seven bits, because products of unsigned and signed bytes are added in pairs to 16 bits on processors without VNNI:
2·127·127 fits, 2·255·127 does not.
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html#when-and-why-do-i-need-to-try-u8u8
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from larqldb.functions.products import EPS32, products, rounding
from larqldb.storage.dtypes import as_float32

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]

DIGIT = 63  # a digit of the input is a whole number from -63 to 63
ZERO = 64  # stored as an unsigned byte from 1 to 127

_TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


class GateScan:
    """All gates of some layers, resident in 8 bits and, where ``keep``, in float32 too, which saves reading them.

    ``read`` gives a layer's gates [features, hidden] in any dtype, the same number in each layer; ``rows`` some of
    them, (layer, features) → [n, hidden]; ``norms`` are what the layers' norms multiply by, [layers, hidden].
    """

    def __init__(
        self,
        layers: Sequence[int],
        norms: Floats,
        read: Callable[[int], Array],
        rows: Callable[[int, list[int]], Array],
        *,
        keep: bool,
    ) -> None:
        self.layers, self.norms = np.array(layers), norms
        self._read_rows = rows
        self.features, hidden = read(layers[0]).shape
        count = len(layers) * self.features
        self._folded = np.empty((count, hidden), np.float32) if keep else None
        quantised = np.empty((hidden, count), np.int8)
        scales, errors, sizes = (np.empty(count, np.float32) for _ in range(3))
        for place, layer in enumerate(layers):
            part = slice(place * self.features, (place + 1) * self.features)
            folded = as_float32(read(layer)) * norms[place]
            if self._folded is not None:
                self._folded[part] = folded
            scales[part] = np.maximum(np.abs(folded).max(axis=1), 1e-30) / 127
            rounded = np.rint(folded / scales[part, None])
            quantised[:, part] = rounded.T.astype(np.int8)
            rounded *= scales[part, None]
            sizes[part] = np.linalg.norm(rounded, axis=1)
            folded -= rounded
            errors[part] = np.linalg.norm(folded, axis=1)
        self._largest = float((sizes + errors).max()) * (1 + 1e-5)
        # ‖u − û‖ is at most √hidden/15876 of ‖u‖; 16 roundings in float32 are more than there are.
        self._bounds = errors + sizes * np.float32(hidden**0.5 / (2 * DIGIT) ** 2 + 16 * EPS32)
        self._product = _product(quantised, scales)

    def find(self, unit: Floats, least: Scores) -> tuple[Ids, Ids, Scores]:
        """The features of each layer with gate·x_l ≥ least[l], for an input u [hidden].

        Returns their layers, their numbers and gate·x_l in float64, by layer, then by number.
        """
        high_step = max(float(np.abs(unit).max()), 1e-30) / DIGIT
        high = np.rint(unit / high_step)
        low_step = high_step / (2 * DIGIT)
        low = np.rint((unit - high * high_step) / low_step)
        digits = (np.stack((high, low)) + ZERO).astype(np.uint8)
        (found,) = self._product.run(None, {"digits": digits})  # [2, layers * features]
        upper = np.array((high_step, low_step), np.float32) @ found
        upper += self._bounds * np.float32(np.linalg.norm(unit) * (1 + 1e-6))
        reached = upper.reshape(len(self.layers), -1) >= np.nextafter(least.astype(np.float32), -np.inf)[:, None]
        place, feature = np.nonzero(reached)
        rows = self._rows(place, feature)
        near = np.flatnonzero(rows @ unit >= least[place] - rounding(self._largest, unit))
        place, feature, scores = place[near], feature[near], products(rows[near], unit)
        held = scores >= least[place]
        return self.layers[place[held]], feature[held], scores[held]

    def _rows(self, place: Ids, feature: Ids) -> Floats:
        """Gates with the weights of their layer's norm in them, [n, hidden]."""
        if self._folded is not None:
            return np.asarray(self._folded[place * self.features + feature])
        parts = [np.empty((0, self.norms.shape[1]), np.float32)]
        for at in np.unique(place).tolist():
            stored = self._read_rows(int(self.layers[at]), feature[place == at].tolist())
            parts.append(as_float32(stored) * self.norms[at])
        return np.concatenate(parts)


def _product(gates: NDArray[np.int8], scales: Floats) -> ort.InferenceSession:
    """Digits [2, hidden] uint8 (64 is zero) times gates [hidden, n] → [2, n], multiplied by scales [n].

    ONNX Runtime packs the gates into its own memory; the arrays are free once this returns.
    """
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the network's own session has the cores
    initialisers = [
        numpy_helper.from_array(np.array(1, np.float32), "one"),
        numpy_helper.from_array(np.array(ZERO, np.uint8), "middle"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    arrays: dict[str, NDArray[Any]] = {"gates": gates, "scales": scales}
    for name, array in arrays.items():
        kind = _TYPES[array.dtype.name]
        tensor = TensorProto(name=name, data_type=kind, dims=array.shape, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", name), ("offset", "0"), ("length", str(array.nbytes))):
            tensor.external_data.add(key=key, value=value)
        initialisers.append(tensor)
        options.add_external_initializers([name], [ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, kind)])
    node = helper.make_node(
        "MatMulIntegerToFloat",
        ["digits", "gates", "one", "scales", "middle", "zero"],
        ["scores"],
        domain="com.microsoft",
    )
    graph = helper.make_graph(
        [node],
        "gate_scan",
        [helper.make_tensor_value_info("digits", TensorProto.UINT8, [2, gates.shape[0]])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [2, gates.shape[1]])],
        initialisers,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
