"""What a model file is made of, read before TensorFlow sees it: known parts only, so that loading it runs no code.

A Keras file names classes, and loading it calls them; some (Lambda, TorchModuleWrapper) unpack code from the file,
others (TextVectorization, get_file) read files or the network. A SavedModel holds a program. Neither `safe_mode` nor a
list of what is dangerous has kept up with that, so the lists here say what is harmless.
"""

import importlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bqsearch.errors import ModelError

MAX_CONFIG = 16 << 20
MAX_WEIGHTS = 1 << 30
MAX_OBJECTS = 100_000
_MEMBERS = {"metadata.json": MAX_CONFIG, "config.json": MAX_CONFIG, "model.weights.h5": MAX_WEIGHTS}


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


MODULES = _words(
    "keras keras.constraints keras.dtype_policies keras.initializers keras.layers keras.models keras.regularizers",
    "keras.src.models.functional keras.src.models.sequential keras.src.ops.nn keras.src.ops.numpy",
)
CLASSES = _words(
    # models
    "Functional Model Sequential",
    # layers
    "Activation Add Average AveragePooling1D AveragePooling2D BatchNormalization Concatenate Conv1D Conv1DTranspose",
    "Conv2D Conv2DTranspose Cropping1D Cropping2D Dense DepthwiseConv1D DepthwiseConv2D Dropout ELU Flatten",
    "GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D",
    "GlobalMaxPooling2D Identity InputLayer LayerNormalization LeakyReLU MaxPooling1D MaxPooling2D Maximum Minimum",
    "Multiply Normalization PReLU Permute ReLU RepeatVector Rescaling Reshape SeparableConv1D SeparableConv2D",
    "Softmax SpatialDropout1D SpatialDropout2D Subtract ThresholdedReLU UpSampling1D UpSampling2D ZeroPadding1D",
    "ZeroPadding2D",
    # operations on tensors
    "Abs ExpandDims GetItem HardSigmoid HardSilu HardSwish Max Mean Negative Pad Relu Relu6 Sigmoid Sqrt Square",
    "Squeeze Sum Swish Silu Tanh Transpose TrueDivide Divide",
    # initializers, regularizers, constraints, policies
    "Constant GlorotNormal GlorotUniform HeNormal HeUniform IdentityInitializer LecunNormal LecunUniform Ones",
    "Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros L1 L1L2 L2 OrthogonalRegularizer",
    "MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy Policy",
    # plain values
    "TensorShape __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__",
)

# Pure functions of tensors, variables, and what Keras' exporter writes around them. Nothing of a SavedModel is run but
# constants that the converter folds, which it does for stateless operations only; loading would also run initializers
# of resources and assets, so these are refused as a whole.
OPERATIONS = _words(
    # program and variables
    "AssignVariableOp Const Identity IdentityN NoOp PartitionedCall Placeholder PlaceholderWithDefault",
    "ReadVariableOp StatefulPartitionedCall StopGradient VarHandleOp VarIsInitializedOp DisableCopyOnRead",
    # saving and restoring, which is never called here
    "MergeV2Checkpoints Pack RestoreV2 SaveV2 Select ShardedFilename StaticRegexFullMatch StringJoin",
    # networks
    "Abs Add AddN AddV2 ArgMax ArgMin AvgPool BatchMatMul BatchMatMulV2 BatchToSpaceND BiasAdd BroadcastTo Cast",
    "Ceil ConcatV2 Conv2D Conv2DBackpropInput Cos Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu",
    "Equal Exp ExpandDims Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 GatherV2",
    "Greater GreaterEqual L2Loss LRN LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul",
    "Max MaxPool Maximum Mean Min Minimum MirrorPad Mul Neg NotEqual OnesLike Pad PadV2 Pow Prod Range Rank RealDiv",
    "Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt Selu SelectV2 Shape",
    "Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square",
    "SquaredDifference Squeeze StridedSlice Sub Sum Tan Tanh Tile Transpose Unpack ZerosLike",
)
_PARTS = ("user_object", "function", "variable", "bare_concrete_function", "constant")


def check_keras_file(path: Path) -> None:
    """Check a .keras archive or an HDF5 file.

    Raises:
        ModelError: It is neither, is too large, or names a class that is not among `CLASSES`.
    """
    if zipfile.is_zipfile(path):
        _check_archive(path)
    else:
        with _hdf5(path) as file:
            _check_storage(file)
            check_config(hdf5_config(file))


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if not {"config.json", "model.weights.h5"} <= set(names) <= set(_MEMBERS) or len(set(names)) < len(names):
            raise ModelError(f"it is no .keras archive: it holds {names[:8]}, not {list(_MEMBERS)}")
        for entry in entries:  # zipfile reads no more of an entry than the size that is checked here
            if entry.file_size > _MEMBERS[entry.filename]:
                raise ModelError(f"its {entry.filename} has {entry.file_size:,} B, too many")
        config = json.loads(archive.read("config.json"))
        if isinstance(config, dict):
            config.pop("compile_config", None)  # not read with compile=False
        check_config(config)
        with _hdf5(io.BytesIO(archive.read("model.weights.h5"))) as file:
            _check_storage(file)


def _hdf5(source: Any) -> Any:
    try:
        return importlib.import_module("h5py").File(source, "r")
    except OSError as error:
        raise ModelError(f"it is no Keras model: {error}") from error


def hdf5_config(file: Any) -> Any:
    """The network's configuration in an HDF5 file, out of JSON.

    Raises:
        ModelError: There is none.
    """
    held = file.attrs.get("model_config")
    if held is None:
        raise ModelError("it holds weights without a network: save the model, not its weights")
    return json.loads(held)


def _check_storage(file: Any) -> None:
    """All data must lie in the file itself, and be no larger than weights are."""
    h5py = importlib.import_module("h5py")
    total, groups, seen = 0, [file], 0
    while groups:
        group = groups.pop()
        for name in group:
            seen += 1
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ModelError(f"its entry {name!r} is a link")
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append(item)
            else:
                total += _stored(item, name)
            if total > MAX_WEIGHTS or seen > MAX_OBJECTS:
                raise ModelError("it holds more than a network for a microcontroller does")


def _stored(item: Any, name: str) -> int:
    """Bytes of a dataset's elements."""
    if getattr(item, "external", None) or getattr(item, "is_virtual", False):
        raise ModelError(f"its entry {name!r} has its data in another file")
    return int(item.size or 0) * int(item.dtype.itemsize)


def check_config(config: Any) -> None:
    """Check that a Keras configuration, as it comes out of JSON, names `CLASSES` out of `MODULES` only.

    Raises:
        ModelError: It names another one, or is no model's configuration.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError("its configuration is not a model's")
    for part in dictionaries(config):
        name, module, registered = part.get("class_name"), part.get("module"), part.get("registered_name")
        if not {"class_name", "module", "registered_name"} & part.keys():
            continue
        known = isinstance(name, str) and name in CLASSES
        if not known or module not in (None, *MODULES) or registered not in (None, name):
            raise ModelError(
                f"it has a part {str(name)[:80]!r} of {str(module)[:80]!r}: bqsearch reads models made of Keras' own "
                f"layers, because others (a Lambda, say) run code out of the file; convert it to .tflite yourself"
            )


def dictionaries(value: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary in a tree out of JSON."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            yield part
        if isinstance(part, dict | list):
            pending += part.values() if isinstance(part, dict) else part


def check_saved_model(folder: Path) -> None:
    """Check a SavedModel folder.

    Raises:
        ModelError: It cannot be read, or holds an operation that is not among `OPERATIONS`, a resource or an asset.
    """
    path = folder / "saved_model.pb"
    if path.stat().st_size > MAX_WEIGHTS:
        raise ModelError(f"its saved_model.pb has {path.stat().st_size:,} B, too many")
    model = importlib.import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
    model.ParseFromString(path.read_bytes())
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].object_graph_def.nodes:
        raise ModelError("it must hold one network, saved by TensorFlow 2")
    (held,) = model.meta_graphs
    functions = held.graph_def.library.function
    nodes = [*held.graph_def.node, *(node for function in functions for node in function.node_def)]
    used = {node.op for node in nodes} - {function.signature.name for function in functions}
    parts = {part.WhichOneof("kind") for part in held.object_graph_def.nodes}
    foreign = sorted(used - OPERATIONS) + sorted(str(part) for part in parts - set(_PARTS))
    if foreign:
        raise ModelError(
            f"it holds {', '.join(foreign[:8])}, which bqsearch does not let run; convert it to .tflite yourself"
        )
