"""Dataset inputs -> a network's own input codes."""

import numpy as np
from PIL import Image

from bqsearch.datasets.base import Normalize
from bqsearch.errors import DatasetError
from bqsearch.graph.ir import Tensor
from bqsearch.types import Array, Shape

_RESAMPLING = Image.Resampling.BILINEAR


def fit_shape(inputs: Array, shape: Shape) -> Array:
    """Images in a network's size and number of channels; features with as many elements in its shape.

    Args:
        inputs: `(n, h, w)` or `(n, h, w, c)` uint8 images, or features of any shape.
        shape: Of the network's input, the batch dimension left out.

    Raises:
        DatasetError: Neither images nor of the right number of elements.
    """
    if inputs.shape[1:] == shape:
        return inputs
    if _are_images(inputs, shape):
        return np.stack([_fit_image(image, shape) for image in inputs])
    if inputs[:1].size == int(np.prod(shape)):
        return inputs.reshape(len(inputs), *shape)
    raise DatasetError(f"inputs of shape {inputs.shape[1:]} ({inputs.dtype}) do not fit the model's input {shape}")


def windows(inputs: Array, shape: Shape) -> Array:
    """Rows of features that are longer than a network's input, each as the consecutive whole windows it holds.

    Args:
        inputs: `(n, ...)`, as for `fit_shape`.
        shape: Of the network's input, the batch dimension left out.

    Returns:
        `(n * windows, *shape)`, a row's windows one after another; images and rows that are not longer as they are.
    """
    elements, size = inputs[:1].size, int(np.prod(shape))
    if elements <= size or _are_images(inputs, shape):
        return inputs
    whole = elements // size
    return inputs.reshape(len(inputs), -1)[:, : whole * size].reshape(len(inputs) * whole, *shape)


def encode(inputs: Array, tensor: Tensor, normalize: Normalize | None) -> Array:
    """Inputs as the codes (or real values) that `tensor` takes, `(n, ...)` in its dtype.

    With a normalization, pixels become real values `(pixel - mean) / std` and then the tensor's codes. Without one,
    data goes in as it is where the types agree; uint8 pixels become int8 by a shift of 128 and float32 by conversion,
    and int8 features become uint8 by the same shift.

    Raises:
        DatasetError: The data's type does not go with the tensor's.
    """
    fitted = fit_shape(inputs, tensor.shape[1:])
    if normalize is not None:
        return quantize((fitted.astype(np.float32) - normalize.mean) / normalize.std, tensor)
    if fitted.dtype.name == tensor.dtype:
        return fitted
    if fitted.dtype == np.uint8 and tensor.dtype == "int8":
        return (fitted ^ np.uint8(128)).view(np.int8)
    if fitted.dtype == np.int8 and tensor.dtype == "uint8":
        return fitted.view(np.uint8) ^ np.uint8(128)
    if fitted.dtype.kind == "f" or tensor.dtype == "float32":
        return quantize(fitted.astype(np.float32), tensor)
    raise DatasetError(f"inputs of type {fitted.dtype} do not go into a model input of type {tensor.dtype}")


def quantize(values: Array, tensor: Tensor) -> Array:
    """Real values as the tensor's codes, rounded and clipped; as they are for a float32 tensor."""
    if tensor.dtype == "float32":
        return values.astype(np.float32)
    if tensor.quantization is None:
        raise DatasetError(f"the model's input {tensor.name!r} has no quantization: real values cannot be encoded")
    limits = np.iinfo(tensor.dtype)
    codes = np.rint(values / tensor.quantization.scales[0]) + tensor.quantization.zero_points[0]
    return np.clip(codes, limits.min, limits.max).astype(tensor.dtype)


def _are_images(inputs: Array, shape: Shape) -> bool:
    return inputs.dtype == np.uint8 and inputs.ndim in (3, 4) and len(shape) == 3


def _fit_image(image: Array, shape: Shape) -> Array:
    height, width, channels = shape
    if channels not in (1, 3):
        raise DatasetError(f"images can be made gray or RGB, but the model's input has {channels} channels")
    if image.ndim == 3 and image.shape[2] > 4:
        raise DatasetError(f"images have 1 to 4 channels, but the data's have {image.shape[2]}")
    squeezed = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    resized = Image.fromarray(squeezed).convert("L" if channels == 1 else "RGB").resize((width, height), _RESAMPLING)
    return np.asarray(resized).reshape(shape)
