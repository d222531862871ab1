"""A spec and its data settle what is searched for: labels, windows and the order of classes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bqsearch import registry
from bqsearch.datasets.base import Normalize
from bqsearch.errors import DatasetError, ModelError, UnsupportedError
from bqsearch.graph.flatbuffer import serialize
from bqsearch.graph.ir import Graph, Op
from bqsearch.hardware import target
from bqsearch.plan import Method
from bqsearch.runtime import tflm
from bqsearch.runtime.litert import Runner
from bqsearch.search import prepare
from bqsearch.search.prepare import Problem
from bqsearch.search.spec import make_spec
from decoding import need_tflm
from networks import VALID, Builder, small_float_network, small_int8_network, small_uint8_network
from search.problems import prepared, write_files

Files = dict[str, str]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_files(tmp_path_factory.mktemp("prepare"))


def with_data(files: Files, folder: Path, **arrays: Any) -> Files:
    np.savez(folder / "own.npz", **arrays)
    return {**files, "data": str(folder / "own.npz")}


def inputs(files: Files) -> dict[str, Any]:
    arrays = np.load(files["data"])
    return {key: arrays[key] for key in ("x_train", "x_test")}


def names(problem: Problem) -> tuple[str, ...]:
    return tuple(objective.name for objective in problem.objectives)


def test_without_labels_the_default_is_fidelity_and_says_so(files: Files, tmp_path: Path) -> None:
    labeled = prepared(files)
    assert names(labeled) == labeled.spec.objectives == ("accuracy", "flash", "ram")
    assert "fidelity" not in labeled.data.note
    bare = prepared(with_data(files, tmp_path, **inputs(files)))
    assert names(bare) == bare.spec.objectives == ("fidelity", "flash", "ram")
    assert "No labels: the search is for fidelity" in bare.data.note
    assert bare.scorer.labels is None


@pytest.mark.parametrize("objectives", ["accuracy,flash,ram", "fidelity,accuracy,flash", "flash,ram"])
def test_accuracy_without_labels_is_refused_with_the_cure(files: Files, tmp_path: Path, objectives: str) -> None:
    wanted = rf"{objectives.replace(',', ', ')} limits the drop in accuracy.*none: .*--objectives fidelity,flash,ram"
    with pytest.raises(DatasetError, match=wanted):
        prepared(with_data(files, tmp_path, **inputs(files)), objectives=objectives)


def test_labels_are_no_part_of_a_search_for_fidelity(files: Files, tmp_path: Path) -> None:
    named = prepared(files, objectives="fidelity,flash,ram")
    bare = prepared(with_data(files, tmp_path, **inputs(files)))
    assert named.data.classes == ()
    assert named.fingerprint == bare.fingerprint


@pytest.mark.parametrize("labels", [{}, {"y_test": np.arange(50) % 4}])
def test_long_rows_without_labels_are_cut_after_the_split(files: Files, tmp_path: Path, labels: dict[str, Any]) -> None:
    """Rows of a value each, three inputs long and a little more: no value is in two splits."""
    size = 8 * 8 * 3
    rows = np.repeat(np.arange(50, dtype=np.int8)[:, None], 3 * size + 40, axis=1)
    problem = prepared(with_data(files, tmp_path, x_test=rows, **labels), objectives="fidelity,flash")
    held, searched = (set(np.unique(split.x).tolist()) for split in (problem.data.holdout, problem.data.search))
    assert held | searched == set(range(50))
    assert not held & searched
    assert (len(problem.data.search), problem.data.windows, problem.scorer.windows) == (75, 3, 3)
    assert problem.data.shape == problem.graph.input.shape[1:]
    assert (problem.data.search.x.reshape(25, -1) == problem.data.search.x.reshape(25, -1)[:, :1]).all()
    assert "Each input of 616 values is cut into 3 of the model's 192; the 40 behind them" in problem.data.note
    assert problem.measure(problem.bank.baseline).fidelities.shape == (25,)


def test_long_rows_with_labels_are_refused(files: Files, tmp_path: Path) -> None:
    rows = np.zeros((50, 3 * 192), np.int8)
    with pytest.raises(DatasetError, match="do not fit the model's input"):
        prepared(with_data(files, tmp_path, x_test=rows, y_test=np.arange(50) % 10))


def test_two_inputs_in_a_split_are_the_fewest_for_fidelity(files: Files, tmp_path: Path) -> None:
    few = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), np.uint8)
    with pytest.raises(DatasetError, match=r"two inputs in each split, but .*own\.npz has 1"):
        prepared(with_data(files, tmp_path, x_test=few))


def test_classes_in_the_order_of_the_outputs(files: Files) -> None:
    order = tuple(str(9 - i) for i in range(10))
    plain, turned = prepared(files), prepared(files, classes=order)
    assert turned.data.classes == order
    np.testing.assert_array_equal(turned.scorer.labels, 9 - plain.scorer.labels)
    assert turned.fingerprint["classes"] == list(order)
    assert turned.fingerprint["data"] != plain.fingerprint["data"]


def test_classes_without_labels_are_refused(files: Files) -> None:
    with pytest.raises(DatasetError, match=r"--classes orders labels.*leave --classes out"):
        prepared(files, objectives="fidelity,flash", classes="a,b")


def test_a_network_that_does_not_classify_is_told_of_fidelity(files: Files, tmp_path: Path) -> None:
    arrays = inputs(files)
    few = with_data(files, tmp_path, **arrays, y_train=np.arange(240) % 4, y_test=np.arange(120) % 4)
    with pytest.raises(DatasetError, match=r"10 outputs, but .* 4 classes.*--objectives fidelity,flash,ram"):
        prepared(few)
    assert prepared(few, objectives="fidelity,flash").quality.name == "fidelity"


OWN = [name for name in target.names() if target.load(name).runtime == "bqsearch"]
MICROS = [name for name in target.names() if target.load(name).runtime == prepare.MICRO]


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_files(tmp_path_factory.mktemp("unsigned"), small_uint8_network)


def test_both_runtimes_have_boards() -> None:
    assert {"hifive1", "hifive1_revb"} <= set(OWN)
    assert {"mimxrt1060_evk", "nrf52840", "rp2040", "stm32f746"} <= set(MICROS)


@pytest.mark.parametrize("board", OWN)
def test_uint8_stays_uint8_where_the_runtime_has_it(unsigned: Files, board: str) -> None:
    problem = prepared(unsigned, target=board)
    assert {entry.weights.dtype for entry in problem.bank.layers} == {"uint8"}
    assert (problem.graph.input.dtype, problem.graph.output.dtype) == ("uint8", "uint8")
    assert problem.given is None
    np.testing.assert_array_equal(problem.scorer.inputs, problem.data.search.x)
    assert problem.holdout_scorer().engine.name == "bqsearch's runtime"
    assert problem.litert_holdout_scorer().engine.name == "LiteRT"


@pytest.mark.parametrize("board", OWN)
def test_an_operator_without_a_kernel_is_told_before_the_search(tmp_path: Path, board: str) -> None:
    files = write_files(tmp_path)
    Path(files["model"]).write_bytes(serialize(halted(small_int8_network())))
    stages: list[str] = []
    wanted = r"layer 'sub \(operator 7\)': .*no kernel for SUB; it has ADD, .*Choose a board with TensorFlow Lite Micro"
    with pytest.raises(UnsupportedError, match=wanted):
        prepare.prepare(make_spec({**files, "target": board}), stages.append)
    assert stages[-1] == "reading the data"


def halted(graph: Graph) -> Graph:
    """The network's outputs, less themselves."""
    output = graph.outputs[0]
    nothing = replace(graph.tensors[output], name="nothing")
    op = Op(code="SUB", inputs=(output, output), outputs=(len(graph.tensors),), options={}, options_type="SubOptions")
    return replace(graph, tensors=(*graph.tensors, nothing), ops=(*graph.ops, op), outputs=(len(graph.tensors),))


@pytest.mark.parametrize("board", MICROS)
def test_uint8_becomes_int8_for_tensorflow_lite_micro(unsigned: Files, board: str) -> None:
    need_tflm()
    problem = prepared(unsigned, target=board)
    assert {entry.weights.dtype for entry in problem.bank.layers} == {"int8"}
    assert (problem.graph.input.dtype, problem.graph.output.dtype) == ("int8", "int8")
    assert problem.given is not None
    assert problem.given.fingerprint == problem.source == small_uint8_network(0).fingerprint
    inputs = (problem.data.search.x ^ np.uint8(128)).view(np.int8)  # activations move by 128, exactly
    np.testing.assert_array_equal(problem.scorer.inputs, inputs)
    right = Runner(problem.given).run(problem.data.search.x)[0].argmax(axis=1) == problem.data.search.y
    scores = problem.given_scores(problem.data.search, problem.scorer)
    np.testing.assert_array_equal(scores, right)
    assert problem.measure(problem.bank.baseline).accuracy == pytest.approx(right.mean(), abs=0.05)
    assert problem.holdout_scorer().engine.name == "TensorFlow Lite Micro"
    assert problem.litert_holdout_scorer().engine.name == "LiteRT"


def test_int8_is_searched_as_it_comes_on_every_board(files: Files) -> None:
    need_tflm()
    own, micro = prepared(files), prepared(files, target="nrf52840")
    assert own.given is micro.given is None
    assert own.graph.fingerprint == micro.graph.fingerprint
    assert {entry.container.name for entry in own.bank.layers} == {"bqsearch"}
    assert {entry.container.name for entry in micro.bank.layers} == {"tflm"}


def floats(files: Files, folder: Path) -> Files:
    (folder / "float.tflite").write_bytes(serialize(small_float_network(0)))
    return {**files, "model": str(folder / "float.tflite")}


def test_equalization_is_of_float_networks_before_they_are_int8(files: Files, tmp_path: Path) -> None:
    given = {**floats(files, tmp_path), "normalize": "127.5,127.5"}
    plain, equal = prepared(given), prepared(given, equalization=True)
    assert plain.source == equal.source
    assert plain.graph.fingerprint != equal.graph.fingerprint
    assert (plain.fingerprint["equalization"], equal.fingerprint["equalization"]) == (False, True)
    assert equal.given is not None
    assert equal.given.fingerprint == equal.source
    with pytest.raises(ModelError, match=r"this one has 8-bit weights: give its float file, or leave equalization out"):
        prepared(files, equalization=True)


def test_a_network_without_layers_to_equalize_is_refused(files: Files, tmp_path: Path) -> None:
    net = Builder("float32")
    image = net.activation("image", (1, 8, 8, 3))
    graph = net.build([image], [net.softmax("softmax", net.dense("dense", net.mean("mean", image), 10))])
    (tmp_path / "one.tflite").write_bytes(serialize(graph))
    with pytest.raises(ModelError, match="no two layers of this model can be equalized: leave equalization out"):
        prepared({**files, "model": str(tmp_path / "one.tflite")}, normalize="127.5,127.5", equalization=True)


def test_the_bank_is_made_as_the_study_says(files: Files) -> None:
    settings = {"schemes": "kmeans", "prune": "std", "activation_weighting": False, "calibration": 20}
    problem = prepared(files, **settings)
    assert problem.bank.method == problem.spec.method == Method(activation_weighting=False)
    for entry in problem.bank.layers:
        assert entry.method == problem.bank.method
        assert entry.prunes == (None, *problem.spec.prunes)
        assert set(entry.quantizers) == {"keep", "kmeans"}
        assert entry.weights.covariance is not None
        assert entry.compensated
    uncompensated = prepared(files, error_compensation=False, **settings)
    assert all(entry.weights.covariance is None for entry in uncompensated.bank.layers)
    changed = {k for k, v in problem.fingerprint.items() if uncompensated.fingerprint[k] != v}
    assert changed == {"error_compensation"}
    told = {"prune": ["std"], "bias_correction": True, "activation_weighting": False, "error_compensation": True}
    assert {key: problem.fingerprint[key] for key in told} == told


@pytest.mark.parametrize("board", ["hifive1", "nrf52840"])
def test_a_float_network_is_given_on_every_board(files: Files, tmp_path: Path, board: str) -> None:
    if board in MICROS:
        need_tflm()
    problem = prepared(floats(files, tmp_path), target=board, normalize="127.5,127.5")
    assert problem.given is not None
    assert problem.given.input.dtype == "float32"
    assert {entry.weights.dtype for entry in problem.bank.layers} == {"int8"}


def test_the_holdout_is_the_interpreters(files: Files) -> None:
    """The kernels round in other places: the two engines' outputs differ somewhere, and each is its own runtime's."""
    need_tflm()
    problem = prepared(files, target="nrf52840")
    inputs = problem.holdout_scorer().inputs
    np.testing.assert_array_equal(inputs, (problem.data.holdout.x ^ np.uint8(128)).view(np.int8))
    told: list[int] = []
    micro = problem.holdout_scorer(told.append).reference
    litert = problem.litert_holdout_scorer().reference
    scale, point = problem.graph.output.quantization.scales[0], problem.graph.output.quantization.zero_points[0]
    np.testing.assert_allclose(micro, (tflm.run(serialize(problem.graph), inputs).astype(float) - point) * scale)
    np.testing.assert_allclose(litert, (Runner(problem.graph, batch=120).run(inputs)[0].astype(float) - point) * scale)
    assert (micro != litert).any()
    assert np.abs(micro - litert).max() <= 16 * scale
    assert sum(told) == len(inputs)


HIDDEN = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "tflite_micro" else found(name, package)
from pathlib import Path
from bqsearch.errors import MissingExtraError
from bqsearch.hardware import target
from bqsearch.search import prepare, verify
from bqsearch.search.spec import make_spec
stages = []
calls = (
    lambda: prepare.prepare(make_spec({"model": "mobilenet_v2", "target": "nrf52840"}), stages.append),
    lambda: next(verify.verify({"points": [{}]}, Path(), target.load("nrf52840"), 1, None, stages.append)),
)
for call in calls:
    try:
        call()
    except MissingExtraError as error:
        print(error)
print(stages)

def stop(stage):
    raise SystemExit(print(stage))

prepare.prepare(make_spec({"model": "mobilenet_v2", "target": "hifive1"}), stop)
"""


def test_without_the_wheel_the_extra_is_named_before_anything_is_read() -> None:
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True, check=True)
    *errors, stages, own = done.stdout.splitlines()
    wanted = "needs tflite-micro, which is not installed: pip install 'bqsearch[tflm]'"
    assert errors == [f"a board that runs TensorFlow Lite Micro {wanted}"] * 2
    assert (stages, own) == ("[]", "reading the model")


def test_a_model_that_is_nowhere_is_told_of_the_folder(files: Files) -> None:
    with pytest.raises(ModelError, match=r"there is no model gone\.tflite, .* the folder that BQSEARCH_MODELS names"):
        prepared({**files, "model": "gone.tflite"})


@pytest.mark.parametrize("board", ["hifive1", "rp2040"])
def test_an_int8_network_with_float_ends_is_no_converted_one(files: Files, tmp_path: Path, board: str) -> None:
    """And pixels are its real values, as `--normalize` says where it is left out."""
    if board == "rp2040":
        need_tflm()
    graph = small_int8_network()
    size = len(graph.tensors)
    ends = [
        replace(tensor, dtype="float32", quantization=None, name=name)
        for tensor, name in ((graph.input, "x"), (graph.output, "y"))
    ]
    wrapped = Graph(
        name="",
        tensors=(*graph.tensors, *ends),
        ops=(
            Op(code="QUANTIZE", inputs=(size,), outputs=graph.inputs, options={}),
            *graph.ops,
            Op(code="DEQUANTIZE", inputs=graph.outputs, outputs=(size + 1,), options={}),
        ),
        inputs=(size,),
        outputs=(size + 1,),
    )
    (tmp_path / "ends.tflite").write_bytes(serialize(wrapped))
    problem = prepared({**files, "model": str(tmp_path / "ends.tflite")}, target=board)
    assert problem.given is None
    assert problem.normalize == Normalize(mean=0.0, std=1.0)


def test_what_an_accelerator_has_no_mapping_for_is_refused_before_the_search(files: Files, tmp_path: Path) -> None:
    net = Builder("int8")
    image = net.activation("image", (1, 16, 16, 1))
    flat = net.reshape("flat", net.conv("net/large", image, 1, size=13, padding=VALID), (1, 16))
    graph = net.build([image], [net.softmax("scores", net.dense("net/dense", flat, 10))])
    (tmp_path / "large.tflite").write_bytes(serialize(graph))
    labels = np.arange(240) % 10
    arrays = {f"x_{part}": np.zeros((240, 16, 16, 1), np.uint8) for part in ("train", "test")}
    data = with_data(files, tmp_path, **arrays, y_train=labels, y_test=labels)
    stages: list[str] = []
    spec = make_spec({**data, "model": str(tmp_path / "large.tflite"), "target": "eyeriss"})
    with pytest.raises(UnsupportedError, match=r"large has no mapping onto Eyeriss .*: filters of 13x13"):
        prepare.prepare(spec, stages.append)
    assert stages[-1] == "mapping the layers onto the accelerator"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images of 28x28 pixels, of 10 classes: a white square in one of as many places, on noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 10
    pixels = rng.integers(0, 60, (600, 28, 28)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        image[(label // 4) * 7 + 1 : (label // 4) * 7 + 6, (label % 4) * 7 + 1 : (label % 4) * 7 + 6] = 255
    path = tmp_path_factory.mktemp("images") / "squares.npz"
    np.savez(path, x_train=pixels[:400], y_train=labels[:400], x_test=pixels[400:], y_test=labels[400:])
    return str(path)


def test_a_built_in_model_knows_its_features_and_normalization(images: str) -> None:
    given = {"model": "profiles_64_10", "data": images}
    own = prepared(given)
    assert (own.spec.features, own.spec.normalize) == ("profiles", (0.0, 1785.0))
    assert own.spec.recipe.features == own.fingerprint["features"] == "profiles"
    assert own.data.shape == (64,)
    assert "Its images are turned into 64 profiles" in own.data.note
    assert own.normalize == Normalize(mean=0.0, std=1785.0)
    said = prepared({**given, "features": "profiles", "normalize": "0,1785"})
    assert said.fingerprint == own.fingerprint
    other = prepared({**given, "normalize": "0,255"})
    assert other.normalize == Normalize(mean=0.0, std=255.0)


def test_features_are_for_any_model_and_part_of_what_a_run_is(images: str, tmp_path: Path) -> None:
    net = Builder("int8", 5)
    source = net.activation("x", (1, 64), 0.0, 1785.0)
    path = tmp_path / "net.tflite"
    path.write_bytes(serialize(net.build([source], [net.dense("dense", source, 10)])))
    problem = prepared({"model": str(path), "data": images, "features": "profiles"})
    assert problem.fingerprint["features"] == "profiles"
    assert problem.scorer.inputs.shape == (200, 64)
    assert len(np.unique(problem.scorer.inputs)) > 20
    with pytest.raises(DatasetError, match=r"inputs of shape \(28, 28\) \(uint8\) do not fit"):
        prepared({"model": str(path), "data": images})


def test_images_of_another_size_have_no_profiles(files: Files) -> None:
    with pytest.raises(DatasetError, match=r"gray images of 28x28 pixels, but .* have the shape \(8, 8, 3\)"):
        prepared({**files, "features": "profiles"})


def test_a_folder_of_images_is_read_in_the_features_size(tmp_path: Path) -> None:
    for label in ("a", "b", *"cdefghij"):
        (tmp_path / label).mkdir()
        for number in range(4):
            Image.fromarray(np.full((40, 30, 3), 20 * number, np.uint8)).save(tmp_path / label / f"{number}.png")
    problem = prepared({"model": "profiles_64_10", "data": str(tmp_path)})
    assert problem.data.shape == (64,)
    assert set(np.unique(problem.data.search.x)) <= {7.0 * 20 * number for number in range(4)}


def test_a_built_in_model_without_a_set_of_its_own_asks_for_one() -> None:
    with pytest.raises(DatasetError, match="the model profiles_64_10 needs data to be scored on: --data"):
        prepared({"model": "profiles_64_10"})


@pytest.mark.parametrize("name", ["profiles_64_10", "mobilenet_v2"])
def test_training_data_are_in_the_models_form(images: str, name: str) -> None:
    zoo = registry.load("model", name)
    data = prepare.training_data(zoo, images if zoo.dataset is None else None)
    assert data.train.x.dtype == np.float32
    assert (data.train.x.min(), data.train.x.max()) == pytest.approx((0.08, 0.78) if zoo.features else (0, 1), abs=0.03)
    assert data.classes == tuple("0123456789")
    assert prepare.float_score(zoo.checkpoint, data)[1] == len(data.search)


def test_training_needs_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", x_train=np.zeros((40, 28, 28), np.uint8))
    with pytest.raises(DatasetError, match=r"training needs labels, but .*bare\.npz has none"):
        prepare.training_data(registry.load("model", "profiles_64_10"), str(tmp_path / "bare.npz"))
