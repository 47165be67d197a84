"""Stored numbers to float32."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnxruntime as ort
    from numpy.typing import NDArray


def as_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    """The array as contiguous float32, exactly; itself when it is that already."""
    if array.dtype == np.float16:
        # numpy 2.4 converts 0.4 G numbers a second, ONNX Runtime 4 G on the same two cores
        converted: NDArray[np.float32] = _half_to_float().run(None, {"half": array})[0]
        return converted
    return np.ascontiguousarray(array, dtype=np.float32)


def write_float32(array: NDArray[Any], out: NDArray[np.float32]) -> None:
    """Write the array's numbers, exactly, into contiguous memory of the same shape."""
    if array.dtype != np.float16:
        out[...] = array
        return
    import onnxruntime as ort

    session = _half_to_float()
    binding = session.io_binding()
    binding.bind_cpu_input("half", np.ascontiguousarray(array))
    binding.bind_ortvalue_output("float", ort.OrtValue.ortvalue_from_numpy(out))
    session.run_with_iobinding(binding)


@cache
def _half_to_float() -> ort.InferenceSession:
    import onnxruntime as ort  # here: opening a file must not wait for it
    from onnx import TensorProto, helper

    cast = helper.make_node("Cast", ["half"], ["float"], to=TensorProto.FLOAT)
    ends = [
        helper.make_tensor_value_info(name, kind, None)
        for name, kind in (("half", TensorProto.FLOAT16), ("float", TensorProto.FLOAT))
    ]
    model = helper.make_model(
        helper.make_graph([cast], "half_to_float", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False  # a result is freed with its array, not kept for the next one
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
