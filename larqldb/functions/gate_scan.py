"""Which features of many layers answer strongly to one input: 8-bit products of all gates propose, float64 decides.

An input enters layer l as x_l = u ∘ w_l, with u of mean square 1 and w_l the weights of the layer's norm. With w_l
folded into the gates every layer sees the same u, so that one matrix-vector product serves them all. The folded gates
g are rounded to 8 bits, ĝ, and u to two 7-bit digits, û; ONNX Runtime multiplies those exactly, reading a quarter of
what float32 reads. By Cauchy–Schwarz

    |g·u − ĝ·û| ≤ ‖g − ĝ‖·‖u‖ + ‖ĝ‖·‖u − û‖

so the features whose ĝ·û plus this bound reaches a layer's threshold include all that reach it in truth; those few are
computed in float64 from the vectors as they are stored. Nothing is missed, whatever the weights.

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

from larqldb.storage.dtypes import as_float32

Array = NDArray[np.generic]
Floats = NDArray[np.float32]
Scores = NDArray[np.float64]
Ids = NDArray[np.int64]

DIGIT = 63  # a digit of the input is a whole number from -63 to 63
ZERO = 64  # stored as an unsigned byte from 1 to 127
EPS32 = 2.0**-24  # unit roundoff of float32

_TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


class GateScan:
    """All gates of some layers, resident in 8 bits and, where ``keep``, as they are stored too, to decide quickly.

    ``read`` gives a layer's gates [features, hidden] in their dtype, the same number in each layer; ``rows`` some of
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
        first = read(layers[0])
        self.features, hidden = first.shape
        count = len(layers) * self.features
        self._stored = np.empty((count, hidden), first.dtype) if keep else None
        quantised = np.empty((hidden, count), np.int8)
        scales, self._errors = np.empty(count, np.float32), np.empty(count, np.float32)
        self._rounded_norms = np.empty(count, np.float32)
        for place, layer in enumerate(layers):
            part = slice(place * self.features, (place + 1) * self.features)
            stored = read(layer)
            if self._stored is not None:
                self._stored[part] = stored
            folded = as_float32(stored) * norms[place]
            scales[part] = np.maximum(np.abs(folded).max(axis=1), 1e-30) / 127
            rounded = np.rint(folded / scales[part, None])
            quantised[:, part] = rounded.T.astype(np.int8)
            rounded *= scales[part, None]
            self._rounded_norms[part] = np.linalg.norm(rounded, axis=1)
            folded -= rounded
            self._errors[part] = np.linalg.norm(folded, axis=1)
        # Rounding in float32: of the folded gates and of the product, generously.
        self._errors += 16 * EPS32 * self._rounded_norms
        self._product = _product(quantised, scales)

    def find(self, unit: Floats, least: Scores) -> tuple[Ids, Ids, Scores]:
        """The features of each layer with gate·x_l ≥ least[l], for an input u [hidden].

        Returns their layers, their numbers and gate·x_l in float64, by layer, then by number.
        """
        high_step = max(float(np.abs(unit).max()), 1e-30) / DIGIT
        high = np.rint(unit / high_step)
        low_step = high_step / 2 / DIGIT
        low = np.rint((unit - high * high_step) / low_step)
        residual = float(np.linalg.norm(unit.astype(np.float64) - high * high_step - low * low_step))
        digits = (np.stack((high, low)) + ZERO).astype(np.uint8)
        (products,) = self._product.run(None, {"digits": digits})  # [2, layers * features]
        upper = products[0] * np.float32(high_step)
        upper += products[1] * np.float32(low_step)
        upper += self._errors * np.float32(np.linalg.norm(unit) * (1 + 1e-6))
        upper += self._rounded_norms * np.float32(residual * (1 + 1e-6))
        reached = upper.reshape(len(self.layers), -1) >= np.nextafter(least.astype(np.float32), -np.inf)[:, None]
        place, feature = np.nonzero(reached)
        inputs = (unit * self.norms).astype(np.float64)  # [layers, hidden]
        scores = np.einsum("ch,ch->c", self._rows(place, feature).astype(np.float64), inputs[place])
        held = scores >= least[place]
        return self.layers[place[held]], feature[held], scores[held]

    def _rows(self, place: Ids, feature: Ids) -> Array:
        """Gates as they are stored, [n, hidden]."""
        if self._stored is not None:
            kept: Array = self._stored[place * self.features + feature]
            return kept
        parts = [self._read_rows(int(self.layers[at]), feature[place == at].tolist()) for at in np.unique(place)]
        return np.concatenate([np.empty((0, self.norms.shape[1]), np.float32), *parts])


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
