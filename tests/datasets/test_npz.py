"""Keras-style archives: what is read from good ones, and what is said about bad ones."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bqsearch.datasets import npz
from bqsearch.datasets.base import Dataset, Normalize
from bqsearch.errors import DatasetError
from bqsearch.types import Array

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 4, 4), np.uint8)
LABELS = np.arange(24) % 3


def load(folder: Path, labeled: bool = True, **arrays: Any) -> Dataset:
    path = folder / "data.npz"
    np.savez(path, **arrays)
    return npz.load(path, 0, None, labeled)


def test_four_arrays(tmp_path: Path) -> None:
    data = load(tmp_path, x_train=PIXELS, y_train=LABELS, x_test=PIXELS[:6] ^ 255, y_test=LABELS[:6])
    assert (len(data.train), len(data.search), len(data.holdout)) == (12, 12, 6)
    np.testing.assert_array_equal(data.holdout.x, PIXELS[:6] ^ 255)
    np.testing.assert_array_equal(data.holdout.y, LABELS[:6])
    assert data.classes == ("0", "1", "2")
    assert data.name == str(tmp_path / "data.npz")


@pytest.mark.parametrize("part", ["train", "test"])
def test_one_pair(tmp_path: Path, part: str) -> None:
    data = load(tmp_path, **{f"x_{part}": PIXELS, f"y_{part}": LABELS})
    assert (len(data.search), len(data.holdout)) == (12, 12)
    assert "one split only" in data.note


def test_no_labels(tmp_path: Path) -> None:
    data = load(tmp_path, x_train=PIXELS, x_test=PIXELS[:6])
    assert (len(data.train), len(data.search), len(data.holdout)) == (12, 12, 6)
    assert data.classes == ()
    assert all(split.y is None for split in data.splits)


@pytest.mark.parametrize("labels", [LABELS, LABELS / 7, np.eye(3)[LABELS], LABELS[:-1], LABELS - 5])
def test_labels_that_are_not_wanted_are_not_looked_at(tmp_path: Path, labels: Array) -> None:
    data = load(tmp_path, labeled=False, x_test=PIXELS, y_test=labels, classes=np.array(["a"]))
    bare = load(tmp_path, x_test=PIXELS)
    assert data.classes == ()
    assert data.fingerprint == bare.fingerprint


def test_classes_are_named(tmp_path: Path) -> None:
    named = ["cat", "dog", "owl", "yak"]
    assert load(tmp_path, x_test=PIXELS, y_test=LABELS, classes=np.array(named)).classes == tuple(named)


def test_labels_may_be_a_column_of_small_integers(tmp_path: Path) -> None:
    data = load(tmp_path, x_test=PIXELS, y_test=LABELS[:, None].astype(np.uint8))
    assert data.search.y.shape == (12,)
    assert data.search.y.dtype == np.int64


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_real_values_become_float32(tmp_path: Path, dtype: str) -> None:
    data = load(tmp_path, x_test=PIXELS.astype(dtype) / 2, y_test=LABELS)
    assert data.search.x.dtype == np.float32
    assert set(np.unique(data.search.x)) <= set(np.unique(PIXELS / 2))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_codes_stay_as_they_are(tmp_path: Path, dtype: str) -> None:
    assert load(tmp_path, x_test=PIXELS.astype(dtype), y_test=LABELS).search.x.dtype == dtype


def test_seed_and_normalization_are_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x_test=PIXELS, y_test=LABELS)
    first, second = npz.load(path, 1, None, True), npz.load(path, 2, Normalize(mean=1.0, std=2.0), True)
    assert first.fingerprint != second.fingerprint
    assert second.normalize == Normalize(mean=1.0, std=2.0)


BAD: dict[str, tuple[dict[str, Array], str]] = {
    "object array": ({"x_test": np.array([{}] * 24, object), "y_test": LABELS}, "allow_pickle"),
    "object classes": ({"x_test": PIXELS, "y_test": LABELS, "classes": np.array([{}], object)}, "allow_pickle"),
    "no pair": ({"images": PIXELS, "labels": LABELS}, "x_train and y_train.*it has images, labels"),
    "no training labels": ({"x_train": PIXELS, "x_test": PIXELS, "y_test": LABELS}, "y_train .* it is missing"),
    "no test labels": ({"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS}, "y_test .* it is missing"),
    "float labels": ({"x_test": PIXELS, "y_test": LABELS / 1}, "y_test .* float64.*--objectives fidelity,flash,ram"),
    "bool labels": ({"x_test": PIXELS, "y_test": LABELS > 0}, "y_test .* bool"),
    "one-hot labels": ({"x_test": PIXELS, "y_test": np.eye(3, dtype=np.int64)[LABELS]}, r"y_test .*\(24, 3\)"),
    "too few labels": ({"x_test": PIXELS, "y_test": LABELS[:-1]}, r"each of the 24 inputs; it is int64 of shape \(23"),
    "negative labels": ({"x_test": PIXELS, "y_test": LABELS - 1}, "label -1; labels count from 0"),
    "NaN": ({"x_test": np.full((24, 4), np.nan), "y_test": LABELS}, "x_test holds NaN or infinite"),
    "infinite": ({"x_test": np.full((24, 4), np.inf, np.float32), "y_test": LABELS}, "x_test holds NaN or infinite"),
    "overflow to infinite": ({"x_test": np.full((24, 4), 1e300), "y_test": LABELS}, "x_test holds NaN or infinite"),
    "wide integers": ({"x_test": PIXELS.astype(np.int64), "y_test": LABELS}, "x_test must be an array of uint8"),
    "flat inputs": ({"x_test": np.zeros(24, np.uint8), "y_test": LABELS}, r"x_test must be .* shape \(24,\)"),
    "few classes": (
        {"x_test": PIXELS, "y_test": LABELS, "classes": np.array(["a"])},
        "label 2 has no name",
    ),
    "huge label": ({"x_test": PIXELS, "y_test": LABELS + 2**62}, "label 4611686018427387906"),
    "wrapping label": ({"x_test": PIXELS, "y_test": LABELS.astype(np.uint64) + np.uint64(2**63)}, "label 92233720"),
    "empty": ({"x_test": PIXELS[:0], "y_test": LABELS[:0]}, "x_test is empty"),
    "empty test": (
        {"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS[:0], "y_test": LABELS[:0]},
        "x_test is empty",
    ),
    "one input": ({"x_test": PIXELS[:1], "y_test": LABELS[:1]}, "1 inputs are too few"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_named(tmp_path: Path, case: str) -> None:
    arrays, message = BAD[case]
    with pytest.raises(DatasetError, match=message):
        load(tmp_path, **arrays)


def test_pickled_objects_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    with pytest.raises(DatasetError, match="allow_pickle"):
        load(tmp_path, x_test=np.array([Bomb()], object), y_test=LABELS)
    assert not (tmp_path / "ran").exists()


def good_archive(folder: Path) -> bytes:
    np.savez_compressed(folder / "good.npz", x_test=PIXELS, y_test=LABELS)
    return (folder / "good.npz").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated_archive(tmp_path: Path, share: float) -> None:
    content = good_archive(tmp_path)
    path = tmp_path / "cut.npz"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DatasetError, match=r"cannot read the data .*cut\.npz"):
        npz.load(path, 0, None, True)


def test_flipped_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    content = good_archive(tmp_path)
    path = tmp_path / "odd.npz"
    found, refused = [], []
    for position in range(0, len(content), 3):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        try:
            data = npz.load(path, 0, None, True)
            found.append(sorted(x.tobytes() for x in (*data.search.x, *data.holdout.x)))
        except DatasetError as error:
            refused.append(str(error))
    whole = sorted(x.tobytes() for x in PIXELS)
    assert all(inputs == whole for inputs in found)  # checksums tell what is not as it was written
    assert len(refused) > len(found) > 0
    assert all("odd.npz" in reason for reason in refused)


def test_not_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "text.npz"
    path.write_text("not a zip file")
    with pytest.raises(DatasetError, match="cannot read the data"):
        npz.load(path, 0, None, True)


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "single.npy"
    np.save(path, PIXELS)
    with pytest.raises(DatasetError, match=r"single\.npy"):
        npz.load(path, 0, None, True)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_test.npy", b"not an array")
        archive.writestr("readme.txt", b"hello")
    with pytest.raises(DatasetError, match="x_train and y_train, or x_test and y_test; it has nothing"):
        npz.load(path, 0, None, True)
