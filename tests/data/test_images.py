"""Pictures from folders and from parquet files."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from dlx.data.images.images import Images
from dlx.errors import DataError
from dlx.shapes import Shape


def pixels(level: int, height: int = 4, width: int = 6, channels: int = 3) -> np.ndarray:
    """A picture that carries its own number, brighter to the right."""
    x = np.full((height, width, channels), level, np.uint8)
    x[:, -1] = 255
    return x[..., 0] if channels == 1 else x


def save(path: Path, array: np.ndarray, **more: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **more)
    return path


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def parquet(path: Path, levels: list[int], labels: list, names: list[str] | None = None, **more: object) -> Path:
    """A file as Hugging Face writes it."""
    cells = [{"bytes": png(pixels(level)), "path": f"{level}.png"} for level in levels]
    table = pa.table({"image": cells, "label": labels})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **more)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve pictures: those of `cat` have even numbers, those of `dog` odd ones."""
    for i in range(12):
        save(tmp_path / ("cat", "dog")[i % 2] / f"{i:02}.png", pixels(10 * i))
    return tmp_path


def refusal_of(source: Images, folder: Path) -> str:
    """The sentence of a DataError, without the name of the temporary folder."""
    with pytest.raises(DataError) as raised:
        source.load()
    (problem,) = raised.value.problems
    return f"{problem.message} | {problem.hint}".replace(f"{folder}/", "").replace(str(folder), ".")


def refused(**fields: object) -> str:
    with pytest.raises(ValidationError) as raised:
        Images(path="p", **fields)
    return raised.value.errors()[0]["msg"].removeprefix("Value error, ")


# --- layouts --------------------------------------------------------------------------------------------------------


def test_real_cifar_10_is_read(shared_data):
    source = Images(path=shared_data / "cifar10-test.parquet", train=2000, test=500, stratify=True)
    facts, sets = source.facts(), source.load()
    assert (facts.input, facts.classes) == (Shape((3, 32, 32)), 10)
    assert sets.class_names[:2] == ("airplane", "automobile")
    assert np.bincount(sets.train.y).tolist() == [200] * 10
    published = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]  # of the 50,000 training pictures
    np.testing.assert_allclose(sets.train.x.mean((0, 2, 3)), published[0], atol=0.02)
    np.testing.assert_allclose(sets.train.x.std((0, 2, 3)), published[1], atol=0.02)


def test_a_folder_a_class(folder):
    sets = Images(path=folder).load()
    assert Images(path=folder).facts().input == Shape((3, 4, 6))
    assert sets.class_names == ("cat", "dog")
    assert sets.train.x.shape == (12, 3, 4, 6)
    numbers = np.rint(sets.train.x[:, 0, 0, 0] * 255 / 10).astype(int)
    assert sorted(numbers) == list(range(12))
    np.testing.assert_array_equal(numbers % 2, sets.train.y)
    assert (sets.train.x[:, :, :, -1] == 1).all()


def test_parts_in_folders_of_their_own(folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    for part, level in (("train", 10), ("val", 20), ("test", 30)):
        for i in range(3):
            save(root / part / "ab"[i % 2] / f"{i}.png", pixels(level))
    sets = Images(path=root).load()
    assert [len(part) for part in (sets.train, sets.valid, sets.test)] == [3, 3, 3]
    for part, level in ((sets.train, 10), (sets.valid, 20), (sets.test, 30)):
        np.testing.assert_allclose(part.x[:, 0, 0, 0], level / 255, rtol=1e-6)


def test_classes_that_are_called_like_parts_stay_classes(tmp_path):
    for name in ("plane", "train"):
        save(tmp_path / name / "1.png", pixels(1))
    assert Images(path=tmp_path).load().class_names == ("plane", "train")


def test_a_parquet_file_and_a_folder_give_the_same(folder, tmp_path_factory):
    levels = [10 * i for i in range(12)]
    file = tmp_path_factory.mktemp("file") / "all.parquet"
    parquet(file, levels, [i % 2 for i in range(12)], ["cat", "dog"], row_group_size=5)
    there, here = Images(path=file).load(), Images(path=folder).load()
    assert there.class_names == here.class_names
    order, other = (np.argsort(sets.train.x[:, 0, 0, 0]) for sets in (there, here))
    np.testing.assert_array_equal(there.train.x[order], here.train.x[other])
    np.testing.assert_array_equal(there.train.y[order], here.train.y[other])


def test_a_folder_of_parquet_files_as_hugging_face_has_it(tmp_path):
    for shard in range(2):
        parquet(tmp_path / f"data/train-0000{shard}-of-00002.parquet", [shard, shard], [0, 1])
    parquet(tmp_path / "data/test-00000-of-00001.parquet", [9], [2])
    source = Images(path=tmp_path, valid=2)
    sets = source.load()
    assert (len(sets.train), len(sets.valid), len(sets.test)) == (2, 2, 1)
    assert (source.facts().classes, sets.class_names) == (3, ())


def test_classes_in_words_are_numbered_in_their_order(tmp_path):
    parquet(tmp_path / "train.parquet", [1, 2, 3], ["owl", "ape", "owl"])
    parquet(tmp_path / "test.parquet", [4], ["owl"])
    sets = Images(path=tmp_path).load()
    assert sets.class_names == ("ape", "owl")
    assert sets.test.y.tolist() == [1]
    parquet(tmp_path / "test.parquet", [4], ["ow"])
    assert refusal_of(Images(path=tmp_path), tmp_path) == (
        "column `label` of `test.parquet` has a class `ow`, which the training part does not have | "
        "Did you mean `owl`?"
    )


def test_only_the_chosen_pictures_are_decoded(folder):
    source = Images(path=folder, train=2)
    pictures = sorted(folder.glob("*/*.png"))
    chosen = {pictures[row] for row in source.rows(np.arange(12) // 6)[0]}
    for other in set(pictures[1:]) - chosen:  # the first one gives the shape
        other.write_bytes(b"torn")
    assert len(source.load().train) == 2


# --- one picture ----------------------------------------------------------------------------------------------------


def one(folder: Path, **fields: object) -> np.ndarray:
    return Images(path=folder, **fields).load().train.x[0]


def test_grey_and_colour(tmp_path):
    save(tmp_path / "a/1.png", pixels(51, channels=1))
    assert one(tmp_path).shape == (1, 4, 6)
    assert one(tmp_path)[0, 0, 0] == np.float32(0.2)
    assert one(tmp_path, channels=3).shape == (3, 4, 6)
    save(tmp_path / "a/1.png", pixels(51, channels=4))
    assert one(tmp_path).shape == (3, 4, 6)
    assert one(tmp_path, channels=4)[3, 0, 0] == np.float32(0.2)
    coloured = np.zeros((2, 2, 3), np.uint8)
    coloured[..., 1] = 255
    save(tmp_path / "a/1.png", coloured)
    assert one(tmp_path, channels=1)[0, 0, 0] == pytest.approx(0.587, abs=0.003)  # the weight of green, ITU-R 601-2


def test_sixteen_bits_of_grey(tmp_path):
    save(tmp_path / "a/1.png", np.array([[0, 13107, 65535]], np.uint16))
    np.testing.assert_allclose(one(tmp_path), [[[0, 0.2, 1]]], rtol=1e-6)
    assert refusal_of(Images(path=tmp_path, channels=3), tmp_path) == (
        "a/1.png has 16-bit grey, which is not turned into colour | Give `channels: 1`."
    )


def test_resizing(tmp_path):
    save(tmp_path / "a/1.png", np.array([[0, 0, 200, 200]] * 2, np.uint8))
    np.testing.assert_allclose(one(tmp_path, size=[2, 2], filter="box") * 255, [[[0, 200]] * 2], rtol=1e-6)
    np.testing.assert_allclose(one(tmp_path, size=2, fit="crop", filter="box") * 255, [[[0, 200]] * 2], rtol=1e-6)
    padded = one(tmp_path, size=4, fit="pad")
    np.testing.assert_allclose(padded[0, :, 3] * 255, [0, 200, 200, 0], rtol=1e-6)
    assert Images(path=tmp_path, size=[5, 7]).facts().input == Shape((1, 5, 7))


def test_a_picture_that_lies_on_its_side_is_put_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a/1.png", np.array([[0, 0, 255]], np.uint8), exif=exif)
    assert Images(path=tmp_path).facts().input == Shape((1, 3, 1))
    np.testing.assert_array_equal(one(tmp_path)[0, :, 0], [0, 0, 1])


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_a_path_that_is_missing(folder):
    assert refusal_of(Images(path=folder / "catt"), folder) == "catt does not exist | Did you mean `cat`?"
    assert (
        refusal_of(Images(path=folder / "a/b"), folder) == "a/b does not exist, nor does its folder | Check the path."
    )


def test_a_class_without_pictures(folder):
    (folder / "emu").mkdir()
    ends = ".bmp, .gif, .jpeg, .jpg, .pbm, .pgm, .png, .ppm, .tif, .tiff, .webp"
    assert refusal_of(Images(path=folder), folder) == (
        f"emu holds no images | Take the folder out, or fill it; images end in {ends}."
    )
    (folder / "emu/1.heic").write_bytes(b"")
    assert refusal_of(Images(path=folder), folder).startswith("emu holds no images: its files end in `.heic` | ")


def test_pictures_without_folders_of_classes(tmp_path):
    save(tmp_path / "1.png", pixels(1))
    assert refusal_of(Images(path=tmp_path), tmp_path) == (
        ". has no folders, and 1 image: each class wants one | "
        "Put the images of each class into a folder that is called like it, or write `target: null` for pictures "
        "without labels."
    )


def test_a_file_that_is_no_picture_or_torn_is_named(folder):
    (folder / "dog/05.png").write_bytes(b"hello")
    assert refusal_of(Images(path=folder), folder) == (
        "dog/05.png is not an image of a known format (5 bytes) | Take it out, or fetch it again."
    )
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    save(folder / "dog/05.png", noise)
    whole = (folder / "dog/05.png").read_bytes()
    (folder / "dog/05.png").write_bytes(whole[: len(whole) // 2])
    sentence = refusal_of(Images(path=folder, size=4), folder)
    assert sentence.startswith("dog/05.png cannot be read as an image: ")
    assert sentence.endswith(" | Take it out, or fetch it again.")


def test_pictures_of_several_shapes_say_the_way_out(folder):
    save(folder / "dog/05.png", pixels(1, 8, 9))
    assert refusal_of(Images(path=folder), folder) == (
        "dog/05.png is 8x9 colour, and the first picture 4x6 colour | "
        "Pictures of one set have one shape: `size: 32` brings all to one size."
    )
    assert len(Images(path=folder, size=5).load().train) == 12
    save(folder / "dog/05.png", pixels(1, channels=1))
    assert refusal_of(Images(path=folder), folder) == (
        "dog/05.png is 4x6 grey, and the first picture 4x6 colour | "
        "Pictures of one set have one shape: `channels: 3` makes all coloured."
    )


def test_a_part_with_a_class_of_its_own(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("test")
    save(other / "cow/1.png", pixels(1))
    sentence = refusal_of(Images(path=folder, test_path=other), other)
    assert sentence == (
        ". has a class `cow`, which the training part does not have | There are the classes cat, dog."
    )


def test_parts_that_are_asked_for_twice(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("test")
    save(other / "cat/1.png", pixels(1))
    assert refusal_of(Images(path=folder, test_path=other, test=0.5), other) == (
        "`test` takes examples from the training part, and . brings them | Keep one of the two."
    )
    assert refusal_of(Images(path=folder, valid_path=other, folds=2, fold=1), other) == (
        "`folds` takes examples from the training part, and . brings them | Keep one of the two."
    )


def test_mistakes_in_a_parquet_file(tmp_path):
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1")
    assert refusal_of(Images(path=file), tmp_path).startswith("a.parquet cannot be read as parquet: ")
    parquet(file, [1, 2], [0, 1])
    assert refusal_of(Images(path=file, image="img"), tmp_path) == (
        "a.parquet has no column `img` | Did you mean `image`? `image` names it."
    )
    assert refusal_of(Images(path=file, image="label"), tmp_path) == (
        "column `label` of a.parquet holds int64, and images are bytes, or a struct that has `bytes` | "
        "Give the name of the column of images as `image`."
    )
    parquet(file, [1, 2], [0, None])
    assert refusal_of(Images(path=file), tmp_path) == (
        "column `label` of `a.parquet` lacks 1 of 2 labels | Take those rows out."
    )
    parquet(file, [1, 2], [0, -1])
    assert refusal_of(Images(path=file), tmp_path) == (
        "column `label` of `a.parquet` holds the class -1, and classes count from 0 | "
        "Number the classes from 0; -1 often stands for a label that is not known."
    )
    parquet(file, [1, 2], [0, 2], ["a", "b"])
    assert refusal_of(Images(path=file), tmp_path) == (
        "column `label` of `a.parquet` holds the class 2, and there are 2 classes, from 0 on | "
    )
    pq.write_table(pa.table({"image": [b"x", b"y"], "label": [0, 1]}), file)
    assert refusal_of(Images(path=file), tmp_path) == (
        "row 0 of a.parquet is not an image of a known format (1 bytes) | Take it out, or fetch it again."
    )


def test_a_set_that_does_not_fit_into_memory(folder, monkeypatch):
    class Small:
        available = 2**30

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Small)
    assert refusal_of(Images(path=folder, size=8192, stream=False), folder) == (
        "12 inputs of shape (3, 8192, 8192) take 9.0 GiB as 32-bit numbers, and 1.0 GiB of memory are free | "
        "A data set is held in memory: give a smaller `size`, train on fewer (`train`), or leave "
        "out `stream: false`."
    )


def big_endian(path: Path, x: np.ndarray) -> None:
    """A grey TIFF of 16 bits with the most significant byte first."""
    height, width = x.shape
    tags = [(256, width), (257, height), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, height)]
    tags.append((279, 2 * x.size))
    content = x.astype(">u2").tobytes()
    directory = struct.pack(">H", len(tags)) + b"".join(struct.pack(">HHIHH", tag, 3, 1, v, 0) for tag, v in tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"MM\0*" + struct.pack(">I", 8 + len(content)) + content + directory + bytes(4))


@pytest.mark.parametrize("size", [None, 4])
def test_the_order_of_bytes_of_16_bits_does_not_matter(tmp_path, size):
    rng = np.random.default_rng(0)
    for i, mean in enumerate((3_500, 53_500)):
        x = rng.integers(mean - 1000, mean + 1000, (8, 8)).astype(np.uint16)
        save(tmp_path / f"little/{'ab'[i]}/1.tif", x)
        big_endian(tmp_path / f"big/{'ab'[i]}/1.tif", x)
    little, big = (Images(path=tmp_path / order, size=size).load().train for order in ("little", "big"))
    np.testing.assert_array_equal(little.x, big.x)
    means = sorted(big.x.mean((1, 2, 3)).tolist())
    np.testing.assert_allclose(means, [3_500 / 65535, 53_500 / 65535], rtol=0.05)


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_pixels_of_32_bits_are_refused(tmp_path, channels, dtype):
    save(tmp_path / "a/1.tif", np.full((4, 4), 70_000, dtype))
    assert refusal_of(Images(path=tmp_path, channels=channels), tmp_path).startswith(
        "a/1.tif has pixels of 32 bits, and"
    )


def deep_png(path: Path, x: np.ndarray) -> None:
    """A PNG with three colours of 16 bits."""
    height, width, _ = x.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in x)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(content))


def test_what_is_left_out_of_a_picture_is_said(tmp_path):
    deep_png(tmp_path / "a/1.png", np.full((4, 4, 3), 40_000, np.uint16))
    frames = [Image.fromarray(pixels(level, 4, 4)) for level in (50, 200)]
    (tmp_path / "b").mkdir()
    frames[0].save(tmp_path / "b/2.png", save_all=True, append_images=frames[1:])
    source = Images(path=tmp_path)
    (warning,) = source.facts().warnings
    assert warning.message.endswith("1.png has 16 bits a colour, of which Pillow reads 8")
    assert sorted(source.load().notes) == [
        (
            "1 picture with 16 bits a colour, of which Pillow reads 8. Save the pictures as arrays, and read those "
            "with `arrays`, where all of it counts."
        ),
        (
            "1 picture with several frames, of which the first is taken. Save each frame as a picture, where all of "
            "them count."
        ),
    ]
    assert source.load().train.x[source.load().train.y == 1, 0, 0, 0].tolist() == [np.float32(50 / 255)]


MODES = {
    "1": (Image.new("1", (4, 4), 1), [1]),
    "L": (Image.new("L", (4, 4), 51), [0.2]),
    "LA": (Image.new("LA", (4, 4), (51, 0)), [0.2]),
    "P": (Image.new("RGB", (4, 4), (51, 102, 153)).quantize(2), [0.2, 0.4, 0.6]),
    "RGBA": (Image.new("RGBA", (4, 4), (51, 102, 153, 0)), [0.2, 0.4, 0.6]),
    "CMYK": (Image.new("CMYK", (4, 4), (204, 153, 102, 0)), [0.2, 0.4, 0.6]),
}


@pytest.mark.parametrize("mode", MODES)
def test_pictures_of_every_mode(tmp_path, mode):
    image, colours = MODES[mode]
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a/1.tif", compression="raw")
    x = Images(path=tmp_path).load().train.x[0]
    np.testing.assert_allclose(x[:, 0, 0], colours, atol=1e-6)
    grey = Images(path=tmp_path, channels=1).load().train.x[0, 0, 0, 0]
    luma = np.dot([0.299, 0.587, 0.114], colours) if len(colours) == 3 else colours[0]  # ITU-R 601-2
    assert grey == pytest.approx(luma, abs=1 / 255)


def test_lightness_and_colour_in_laboratory_terms(tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("LAB", (4, 4), (136, 128, 128)).save(tmp_path / "a/1.tif")
    for channels in (1, 3):
        x = Images(path=tmp_path, channels=channels).load().train.x
        assert x.mean() == pytest.approx(0.498, abs=0.01)  # L* 53.3 is Y = 0.2135, and 0.4995 in sRGB


@pytest.mark.parametrize(("held", "size"), [(1, (4, 6)), (6, (6, 4)), (8, (6, 4)), (0, (4, 6)), (9, (4, 6))])
def test_a_picture_is_turned_as_the_camera_was_held(tmp_path, held, size):
    exif = Image.Exif()
    exif[0x0112] = held
    save(tmp_path / "a/1.png", pixels(10, channels=1), exif=exif)
    source = Images(path=tmp_path)
    assert source.facts().input == (1, *size)
    bright = source.load().train.x[0, 0] == 1
    assert bright.sum() == 4
    edges = {1: np.s_[:, -1], 6: np.s_[-1], 8: np.s_[0], 0: np.s_[:, -1], 9: np.s_[:, -1]}
    assert bright[edges[held]].all()


def test_true_is_no_number_of_channels():
    with pytest.raises(ValidationError, match="Input should be 1, 3 or 4"):
        Images(path="a", channels=True)
