"""Files in MNIST's format."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from pydantic import ValidationError

from dlx.data.published.idx import IDX, read_array, read_header
from dlx.errors import DataError
from dlx.shapes import Shape

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def packed(array, dtype="u1", sizes=None) -> bytes:
    """The bytes of an IDX file; `sizes` may lie."""
    array = np.asarray(array)
    sizes = array.shape if sizes is None else sizes
    return struct.pack(f">HBB{len(sizes)}I", 0, CODES[dtype], len(sizes), *sizes) + array.astype(dtype).tobytes()


@pytest.fixture
def folder(tmp_path):
    """Ten 2x3 images with the labels 0, 1, 2, 0, ..."""
    (tmp_path / "images").write_bytes(packed(np.arange(60).reshape(10, 2, 3)))
    (tmp_path / "labels").write_bytes(packed(np.arange(10) % 3))
    return tmp_path


def idx(folder, **options) -> IDX:
    return IDX(images=folder / "images", labels=folder / "labels", **options)


def refusal_of(call, folder) -> str:
    """The sentence of a DataError, without the name of the temporary folder."""
    with pytest.raises(DataError) as raised:
        call()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{folder}/", "")


def refused(folder, name="images", content=b"", **options) -> str:
    """The sentence, which `facts` and `load` share, after a file was replaced."""
    (folder / name).write_bytes(content)
    sentence = refusal_of(lambda: idx(folder, **options).load(), folder)
    assert sentence == refusal_of(lambda: (idx(folder, **options).facts(), read_array(folder / name)), folder)
    return sentence


def test_real_mnist_is_read(shared_data):
    source = IDX(
        images=shared_data / "t10k-images-idx3-ubyte.gz",
        labels=shared_data / "t10k-labels-idx1-ubyte.gz",
        train=8000,
        test=2000,
        stratify=True,
    )
    facts, sets = source.facts(), source.load()

    assert (facts.input, facts.classes) == (Shape((1, 28, 28)), 10)
    assert (sets.train.x.shape, sets.test.x.shape) == ((8000, 1, 28, 28), (2000, 1, 28, 28))
    assert (sets.train.x.min(), sets.train.x.max()) == (0, 1)
    together = np.bincount(sets.train.y) + np.bincount(sets.test.y)
    assert together.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # LeCun's counts


def test_images_are_scaled_and_get_their_channel(folder):
    sets = idx(folder).load()
    assert sets.train.x.shape == (10, 1, 2, 3)
    first = sets.train.x[sets.train.x[:, 0, 0, 0] == 0]
    np.testing.assert_allclose(first[0, 0], np.arange(6).reshape(2, 3) / 255, rtol=1e-6)
    assert idx(folder, scale=False).load().train.x.max() == 59


def test_labels_stay_with_their_images(folder):
    sets = idx(folder, test=0.3, stratify=True, scale=False).load()
    for part in (sets.train, sets.test):
        np.testing.assert_array_equal(part.x[:, 0, 0, 0] // 6 % 3, part.y)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("squeeze", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_type_of_the_format_is_read_whatever_the_name(tmp_path, dtype, squeeze):
    values = np.array([[0, 1, 100], [2, 3, 4]])
    path = tmp_path / "no-ending"
    path.write_bytes(squeeze(packed(values, dtype)))
    np.testing.assert_array_equal(read_array(path), values)


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [((4, 5), (5,)), ((4, 3, 2), (1, 3, 2)), ((4, 3, 2, 2), (3, 2, 2)), ((4, 1, 2, 2, 2), (1, 2, 2, 2))],
)
def test_the_shape_of_an_input_follows_the_rank(folder, sizes, shape):
    (folder / "images").write_bytes(packed(np.ones(sizes), ">f4"))
    (folder / "labels").write_bytes(packed([0, 1, 0, 1]))
    assert idx(folder).facts().input == shape
    assert idx(folder).load().train.x.shape == (4, *shape)


def test_test_files_are_the_test_part_and_can_have_more_classes(folder):
    (folder / "more").write_bytes(packed(np.full((4, 2, 3), 255)))
    (folder / "marks").write_bytes(packed([0, 1, 2, 7]))
    source = idx(folder, test_images=folder / "more", test_labels=folder / "marks", valid=3)
    sets = source.load()

    assert (len(sets.train), len(sets.valid), len(sets.test)) == (7, 3, 4)
    assert (sets.test.x == 1).all()
    assert sets.test.y.tolist() == [0, 1, 2, 7]
    assert source.facts().classes == 8


def test_standardisation_works_on_the_training_part(folder):
    train = idx(folder, standardize="channel", test=2).load().train.x
    assert abs(train.mean()) < 1e-6
    assert abs(train.std() - 1) < 1e-6


def test_the_header_of_a_gzip_file_is_read_without_the_rest(tmp_path):
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(packed(np.random.default_rng(0).integers(0, 256, (300, 28, 28)))))
    path.write_bytes(path.read_bytes()[:100_000])  # torn at its end, which a header does not need
    assert read_header(path).sizes == (300, 28, 28)


def test_a_missing_file_names_its_neighbours(folder):
    source = IDX(images=folder / "imagse", labels=folder / "labels")
    assert refusal_of(source.facts, folder) == "imagse does not exist | Did you mean `images`?"
    lost = IDX(images=folder / "train" / "images", labels=folder / "labels")
    assert refusal_of(lost.facts, folder) == "train/images does not exist, nor does its folder | Check the path."


def test_a_folder_is_not_a_file(folder):
    (folder / "sub").mkdir()
    source = IDX(images=folder / "sub", labels=folder / "labels")
    assert refusal_of(source.facts, folder) == "sub is a folder, not a file | The folder has no files."


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def forbidden(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", forbidden)
    assert refusal_of(idx(folder).facts, folder) == "images cannot be read: Permission denied | "


def test_another_format(folder):
    assert refused(folder, content=b"\x89PNG\r\n\x1a\n0000") == (
        "images starts with 0x89504e47, and an IDX file with 0x0000, the type (08, 09, 0b to 0e) "
        "and the number of axes (01 to 08) | MNIST's images start with 0x00000803, its labels with 0x00000801."
    )


@pytest.mark.parametrize("magic", [0x00000A03, 0x00000800, 0x00000809, 0x01000803])
def test_types_and_ranks_that_the_format_lacks(folder, magic):
    assert refused(folder, content=struct.pack(">I", magic) + bytes(40)).startswith(
        f"images starts with 0x{magic:08x}, "
    )


def test_a_file_that_ends_in_its_header(folder):
    again = " | Fetch the file again."
    assert refused(folder) == "images ends within its header: 4 bytes expected, 0 found" + again
    whole = packed(np.zeros((10, 2, 3)))
    assert refused(folder, content=whole[:13]) == "images ends within its header: 12 bytes expected, 9 found" + again
    torn = gzip.compress(whole)[:12]
    assert refused(folder, content=torn) == "images ends within its header: 4 bytes expected, 0 found" + again


def test_a_file_of_the_wrong_length(folder):
    whole = packed(np.zeros((10, 2, 3)))
    head = "images promises uint8 values 10x2x3: 76 bytes expected in all, found "
    again = " | Fetch the file again."
    assert refused(folder, content=whole[:70]) == head + "70" + again
    assert refused(folder, content=whole + b"0") == head + "77" + again
    assert refused(folder, content=gzip.compress(whole[:70])) == head + "70" + again
    assert refused(folder, content=gzip.compress(whole + b"0")) == head + "more" + again


def test_a_torn_gzip_file(folder):
    values = np.random.default_rng(0).integers(0, 256, (10, 40, 50))
    torn = gzip.compress(packed(values))[:10_000]
    sentence = refused(folder, content=torn)
    start, found, end = sentence.partition(" before the gzip data breaks off | Fetch the file again.")
    assert found
    assert not end
    head, number = start.rsplit(" ", 1)
    assert head == "images promises uint8 values 10x40x50: 20,016 bytes expected in all, found"
    assert 9_000 < int(number.replace(",", "")) < 10_000
    without_mark = gzip.compress(packed(np.zeros((10, 2, 3))))[:-8]
    assert "found 76 before the gzip data breaks off" in refused(folder, content=without_mark)


def test_damaged_gzip_data(folder):
    content = bytearray(gzip.compress(packed(np.zeros((10, 2, 3)))))
    content[-8] ^= 0xFF
    sentence = refused(folder, content=bytes(content))
    assert sentence.startswith("images holds damaged gzip data: CRC check failed")
    assert sentence.endswith(" | Fetch the file again.")
    content[10] = 0xFF
    assert "damaged gzip data: Error -3" in refused(folder, content=bytes(content))


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_header_that_promises_a_world_costs_nothing(folder, squeeze):
    lie = squeeze(packed(np.zeros(100), sizes=(2**32 - 1,) * 4))
    (folder / "images").write_bytes(lie)
    sentence = refusal_of(idx(folder).facts, folder)
    promised = (2**32 - 1) ** 4 + 20
    size = len(lie)
    found = f"{size}" if squeeze is bytes else f"{size} gzipped ones, which unpack to {1032 * size:,} at most"
    world = "x".join(["4294967295"] * 4)
    assert sentence == (
        f"images promises uint8 values {world}: {promised:,} bytes expected in all, found {found}"
        " | Fetch the file again."
    )


def test_a_file_without_examples(folder):
    assert refused(folder, content=packed(np.zeros((0, 28, 28)))) == (
        "images holds uint8 values 0x28x28: nothing | Give a file with examples in it."
    )


def test_images_and_labels_that_differ_in_number(folder):
    (folder / "labels").write_bytes(packed([0, 1, 2]))
    assert refusal_of(idx(folder).facts, folder) == (
        "images holds 10 images, labels 3 labels | Give two files of the same examples."
    )


def test_images_and_labels_that_changed_places(folder):
    swapped = IDX(images=folder / "labels", labels=folder / "images")
    places = " | `images` and `labels` may have changed places."
    assert refusal_of(swapped.facts, folder) == (
        "labels holds uint8 values 10, and images have more than one axis" + places
    )
    twice = IDX(images=folder / "images", labels=folder / "images")
    assert refusal_of(twice.facts, folder) == (
        "images holds uint8 values 10x2x3, and labels are one whole number an example" + places
    )


def test_labels_are_whole_numbers_from_0(folder):
    (folder / "labels").write_bytes(packed(np.arange(10) - 3, ">i4"))
    assert refusal_of(idx(folder).facts, folder) == (
        "labels holds the label -3, and classes count from 0 | Number the classes from 0."
    )
    (folder / "labels").write_bytes(packed(np.arange(10), ">f4"))
    assert refusal_of(idx(folder).facts, folder).startswith(
        "labels holds float32 values 10, and labels are one whole number"
    )


def test_test_images_of_another_size(folder):
    (folder / "more").write_bytes(packed(np.zeros((10, 4, 4))))
    source = idx(folder, test_images=folder / "more", test_labels=folder / "labels")
    assert refusal_of(source.facts, folder) == (
        "images holds inputs of shape (1, 2, 3), more of (1, 4, 4) | Give test images of the same size."
    )


def test_splits_that_do_not_fit_are_reported_by_the_header_alone(folder):
    assert refusal_of(idx(folder, train=9, test=5).facts, folder) == (
        "`train` 9 + `test` 5 = 14 examples are asked for, and there are 10 | "
        "Ask for less, or leave out `train` for the rest."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"test_images": "a"}, "`test_images` stands without `test_labels`: give both files, or neither"),
        ({"test_labels": "a"}, "`test_labels` stands without `test_images`: give both files, or neither"),
        (
            {"test_images": "a", "test_labels": "b", "test": 0.1},
            "`test` takes examples from `images`, and `test_images` brings them: give one of the two",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, sentence):
    with pytest.raises(ValidationError) as raised:
        IDX(images="i", labels="l", **options)
    assert raised.value.errors()[0]["msg"] == f"Value error, {sentence}"
