from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from larqldb.model.dtypes import as_float32


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_every_number_of_sixteen_bits_is_exact(dtype):
    numbers = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16).view(dtype)
    got = as_float32(numbers)
    assert got.dtype == np.float32
    assert np.array_equal(got, numbers.astype(np.float32), equal_nan=True)


def test_float32_is_itself():
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert as_float32(numbers) is numbers


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_a_transposed_array_becomes_contiguous(dtype):
    got = as_float32(np.arange(6).reshape(2, 3).astype(dtype).T)
    assert got.flags.c_contiguous
    assert got.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_nothing_to_convert():
    assert as_float32(np.empty((0, 3), np.float16)).shape == (0, 3)
