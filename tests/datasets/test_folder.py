"""Folders of images: splits, sizes, colors, and folders that are none."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bqsearch.datasets import folder
from bqsearch.datasets.base import Dataset, Normalize
from bqsearch.errors import DatasetError

SHAPE = (8, 8, 3)


def paint(root: Path, classes: Iterable[str] = ("cat", "dog"), count: int = 4, mode: str = "RGB") -> None:
    """Images of one color for each class, the first class black, of growing sizes and changing formats."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            color = 60 * label + i
            image = Image.new(mode, (6 + i, 9), color if mode == "L" else (color, color, color))
            image.save(root / name / f"{i}{('.png', '.bmp')[i % 2]}")


def load(path: Path, shape: tuple[int, ...] = SHAPE, labels: bool = True) -> Dataset:
    return folder.load(path, 0, None, shape, labels)


def test_one_split_of_images_of_different_sizes(tmp_path: Path) -> None:
    paint(tmp_path)
    data = load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.shape == SHAPE
    assert data.train.x.dtype == np.uint8
    assert (len(data.search), len(data.holdout)) == (4, 4)
    assert "one split only" in data.note
    for split in (data.search, data.holdout):
        np.testing.assert_array_equal(split.x.mean(axis=(1, 2, 3)) >= 60, split.y == 1)


@pytest.mark.parametrize("test", ["test", "val", "validation", "holdout"])
def test_train_and_another_split(tmp_path: Path, test: str) -> None:
    paint(tmp_path / "train")
    paint(tmp_path / test, count=2)
    data = load(tmp_path)
    assert (len(data.train), len(data.search), len(data.holdout)) == (4, 4, 4)
    assert "test split" in data.note


@pytest.mark.parametrize("only", ["train", "val"])
def test_one_of_the_two_is_one_split(tmp_path: Path, only: str) -> None:
    paint(tmp_path / only)
    assert load(tmp_path).classes == ("cat", "dog")
    assert "one split only" in load(tmp_path).note


def test_gray_images_for_a_model_of_colors_and_the_reverse(tmp_path: Path) -> None:
    paint(tmp_path / "gray", mode="L")
    paint(tmp_path / "color")
    gray, color = load(tmp_path / "gray", (8, 8, 3)), load(tmp_path / "color", (8, 8, 1))
    assert (gray.shape, color.shape) == ((8, 8, 3), (8, 8, 1))
    np.testing.assert_array_equal(gray.search.x[..., :1], color.search.x)


def test_other_modes_are_converted(tmp_path: Path) -> None:
    for name, mode in (("a", "RGBA"), ("b", "P"), ("c", "1"), ("d", "LA")):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new(mode, (5, 5)).save(tmp_path / name / f"{i}.png")
    assert load(tmp_path).shape == SHAPE


def test_sixteen_bit_images_keep_their_brightness(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for i, value in enumerate((0, 0x4000, 0x8000, 0xFFFF)):
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / "a" / f"{i}.png")
    data = load(tmp_path, (8, 8, 1))
    found = sorted(int(x.mean()) for split in (data.search, data.holdout) for x in split.x)
    assert found == [0, 0x40, 0x80, 0xFF]


def test_an_empty_class_folder_is_a_class_without_images(tmp_path: Path) -> None:
    paint(tmp_path)
    (tmp_path / "bee").mkdir()
    data = load(tmp_path)
    assert data.classes == ("bee", "cat", "dog")
    assert set(data.search.y) == {1, 2}


def test_classes_of_both_splits_count(tmp_path: Path) -> None:
    paint(tmp_path / "train", ("cat", "dog"))
    paint(tmp_path / "test", ("bee", "cat"))
    data = load(tmp_path)
    assert data.classes == ("bee", "cat", "dog")
    assert set(data.holdout.y) == {0, 1}


def test_other_files_are_passed_over(tmp_path: Path) -> None:
    paint(tmp_path)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "README.md").write_text("no class")
    assert len(load(tmp_path).search) == 4


def test_normalization_is_passed_on(tmp_path: Path) -> None:
    paint(tmp_path)
    assert folder.load(tmp_path, 0, Normalize(mean=1.0, std=2.0), SHAPE, True).normalize == Normalize(mean=1.0, std=2.0)


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    paint(tmp_path)
    (tmp_path / "cat" / "9.png").write_bytes(b"\x89PNG\r\n\x1a\n but not really")
    with pytest.raises(DatasetError, match=r"cannot read the image .*9\.png"):
        load(tmp_path)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp", "webp", "ppm"])
def test_damaged_images_never_escape_as_another_error(tmp_path: Path, kind: str) -> None:
    paint(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    path = tmp_path / "cat" / f"z.{kind}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    changed, cut = [], []
    for position in [*range(0, 64), *range(64, len(content), 97)]:
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        changed.append(is_read(tmp_path))
        path.write_bytes(content[:position])
        cut.append(is_read(tmp_path))
    assert set(changed) == {True, False}
    assert not any(cut[:16])


def is_read(path: Path) -> bool:
    """Whether nine images are read, where the refusal of one is as right."""
    try:
        data = load(path)
    except DatasetError as error:
        assert "cannot read the image" in str(error)  # noqa: PT017 - either outcome is right
        return False
    assert (data.shape, len(data.search) + len(data.holdout)) == (SHAPE, 9)
    return True


def test_images_without_class_folders_have_no_labels(tmp_path: Path) -> None:
    for i in range(6):
        Image.new("L", (8, 8), i).save(tmp_path / f"{i}.png")
    data = load(tmp_path, (8, 8, 1))
    assert data.classes == ()
    assert all(split.y is None for split in data.splits)
    assert sorted(int(x.max()) for split in (data.search, data.holdout) for x in split.x) == list(range(6))


def test_unlabeled_images_under_train_and_test(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("test", 2)):
        (tmp_path / part).mkdir()
        for i in range(count):
            Image.new("L", (8, 8), i).save(tmp_path / part / f"{i}.png")
    data = load(tmp_path, (8, 8, 1))
    assert (len(data.train), len(data.search), len(data.holdout), data.classes) == (3, 3, 2, ())


def test_class_folders_are_only_folders_where_no_labels_are_wanted(tmp_path: Path) -> None:
    paint(tmp_path)
    data = load(tmp_path, labels=False)
    assert (len(data.search), len(data.holdout), data.classes, data.search.y) == (4, 4, (), None)


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither class folders nor images; known suffixes: .*\.png"):
        load(tmp_path)


def test_class_folders_without_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(DatasetError, match=r"no images in its class folders.*\.png"):
        load(tmp_path)


def test_an_empty_test_folder(tmp_path: Path) -> None:
    paint(tmp_path / "train")
    (tmp_path / "test").mkdir()
    with pytest.raises(DatasetError, match="test has no images"):
        load(tmp_path)


@pytest.mark.parametrize("shape", [(64,), (8, 8, 2), (8, 8)])
def test_a_model_without_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    paint(tmp_path)
    with pytest.raises(DatasetError, match="do not fit a model input"):
        load(tmp_path, shape)
