"""Inputs become exactly the codes that a board's input tensor would hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bqsearch.datasets import feed
from bqsearch.datasets.base import Normalize
from bqsearch.errors import DatasetError
from bqsearch.graph.ir import Quantization, Tensor

BYTES = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def tensor(
    dtype: str, shape: tuple[int, ...] = (1, 16, 16, 1), scale: float | None = 1.0, zero_point: int = 0
) -> Tensor:
    quantization = None
    if scale is not None:
        quantization = Quantization(scales=np.array([scale], np.float32), zero_points=np.array([zero_point]))
    return Tensor(name="in", shape=shape, dtype=dtype, quantization=quantization)


def test_pixels_shift_to_int8() -> None:
    codes = feed.encode(BYTES, tensor("int8"), None)
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(codes.reshape(-1), np.arange(256) - 128)


def test_int8_features_shift_to_uint8() -> None:
    codes = feed.encode(np.arange(-128, 128, dtype=np.int8).reshape(1, 256), tensor("uint8", (1, 256)), None)
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(codes[0], np.arange(256))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_equal_types_go_in_as_they_are(dtype: str) -> None:
    values = BYTES.astype(dtype)
    np.testing.assert_array_equal(feed.encode(values, tensor(dtype), None), values)


def test_normalized_pixels_become_codes() -> None:
    codes = feed.encode(BYTES, tensor("int8", scale=1 / 128, zero_point=-3), Normalize(mean=127.5, std=127.5))
    real = (np.arange(256, dtype=np.float32) - np.float32(127.5)) / np.float32(127.5)
    wanted = np.clip(np.rint(real / np.float32(1 / 128)) - 3, -128, 127)
    np.testing.assert_array_equal(codes.reshape(-1), wanted)
    assert codes.min() == -128  # clipped: -131 would be the first


def test_normalized_pixels_for_a_float_model() -> None:
    values = feed.encode(BYTES, tensor("float32", scale=None), Normalize(mean=0.0, std=255.0))
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values.reshape(-1), np.arange(256, dtype=np.float32) / np.float32(255))


def test_pixels_for_a_float_model_keep_their_values() -> None:
    values = feed.encode(BYTES, tensor("float32", scale=None), None)
    np.testing.assert_array_equal(values.reshape(-1), np.arange(256, dtype=np.float32))


def test_real_values_become_codes_by_the_tensor() -> None:
    real = np.array([[-10.0, -0.25, 0.0, 0.24, 0.26, 10.0]], np.float32)
    codes = feed.encode(real, tensor("uint8", (1, 6), scale=0.5, zero_point=100), None)
    np.testing.assert_array_equal(codes, [[80, 100, 100, 100, 101, 120]])


def test_real_values_need_a_quantization() -> None:
    with pytest.raises(DatasetError, match="'in' has no quantization"):
        feed.encode(np.zeros((1, 6), np.float32), tensor("int8", (1, 6), scale=None), None)


def test_images_are_resized_and_made_gray_or_colored() -> None:
    flat = np.full((2, 4, 5, 3), 77, np.uint8)
    assert feed.fit_shape(flat, (8, 8, 3)).shape == (2, 8, 8, 3)
    gray = feed.fit_shape(flat, (8, 8, 1))
    assert gray.shape == (2, 8, 8, 1)
    assert (gray == 77).all()
    colored = feed.fit_shape(np.full((2, 8, 8), 77, np.uint8), (8, 8, 3))
    assert colored.shape == (2, 8, 8, 3)
    assert (colored == 77).all()


def test_gray_images_gain_their_channel_without_a_change() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16), np.uint8)
    np.testing.assert_array_equal(feed.fit_shape(images, (16, 16, 1))[..., 0], images)


def test_features_are_reshaped_by_element_count() -> None:
    features = np.arange(24, dtype=np.float32).reshape(2, 12)
    np.testing.assert_array_equal(feed.fit_shape(features, (3, 4)), features.reshape(2, 3, 4))


@given(st.integers(1, 4), st.integers(1, 40), st.integers(1, 12))
def test_windows_are_the_consecutive_whole_ones(rows: int, length: int, size: int) -> None:
    features = np.arange(rows * length, dtype=np.float32).reshape(rows, length)
    if length <= size:
        assert feed.windows(features, (size,)) is features
        return
    wanted = [row[start : start + size] for row in features for start in range(0, length - size + 1, size)]
    np.testing.assert_array_equal(feed.windows(features, (size,)), wanted)


def test_windows_of_frames_are_whole_frames() -> None:
    features = np.random.default_rng(0).integers(-128, 128, (3, 49, 40)).astype(np.int8)
    found = feed.windows(features, (640,))
    assert (found.shape, found.dtype) == ((9, 640), np.int8)
    np.testing.assert_array_equal(found[4], features[1, 16:32].reshape(-1))


def test_images_are_resized_and_not_cut() -> None:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert feed.windows(images, (8, 8, 3)) is images


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        (np.zeros((2, 12), np.float32), (5,)),
        (np.zeros((2, 8, 8, 3), np.float32), (16, 16, 3)),
        (np.zeros((2, 12), np.uint8), (4, 4, 1)),
        (np.zeros((2, 8, 8, 1), np.uint8), (8, 8, 4)),
        (np.zeros((2, 8, 8, 7), np.uint8), (8, 8, 3)),
    ],
)
def test_what_does_not_fit_is_refused(inputs: np.ndarray, shape: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match=r"do not fit the model's input|can be made gray or RGB|images have 1 to 4"):
        feed.fit_shape(inputs, shape)


def test_integers_do_not_go_into_wide_tensors() -> None:
    with pytest.raises(DatasetError, match="uint8 do not go into a model input of type int16"):
        feed.encode(BYTES, tensor("int16"), None)
