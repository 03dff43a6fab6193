"""Pictures with masks in a folder beside them: pairs, values, sizes, and a network that learns them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from dlx.api.trained import predict
from dlx.api.trainings import train
from dlx.data.generated.shapes import Shapes
from dlx.data.images.images import Images
from dlx.errors import DataError, SpecError
from dlx.graph import trace_all
from dlx.shapes import Shape
from dlx.spec import load

ROOT = Path(__file__).parents[2]
COLOURS = {"ground": [0, 0, 0], "disc": [255, 0, 0], "square": [0, 255, 0], "triangle": [0, 0, 255]}


def save(path: Path, array: np.ndarray, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = Image.fromarray(array, "P")
        image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.save(path)
    return path


def masks_of(count: int, size: tuple[int, int] = (6, 8), classes: int = 3) -> np.ndarray:
    y = np.random.default_rng(5).integers(0, classes, (count, *size), dtype=np.uint8)
    y[:, 0, :classes] = np.arange(classes)
    return y


@pytest.fixture
def folders(tmp_path):
    """Ten pictures whose value is their number, and masks of the classes 0, 1 and 2."""
    y = masks_of(10)
    for i in range(10):
        save(tmp_path / "pictures" / f"{i:02}.png", np.full((6, 8, 3), 10 * i, np.uint8))
        save(tmp_path / "masks" / f"{i:02}.png", y[i])
    return tmp_path


def images(folder: Path, **more: object) -> Images:
    return Images(path=folder / "pictures", masks=folder / "masks", **more)


def refusal_of(source: Images, folder: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        source.load()
    return [f"{p.message}. {p.hint}".replace(f"{folder}/", "") for p in caught.value.problems]


def by_picture(sets) -> dict[int, np.ndarray]:
    parts = [part for part in (sets.train, sets.valid, sets.test) if part is not None]
    return {round(float(x[0, 0, 0] * 25.5)): y for part in parts for x, y in zip(part.x[:], part.y[:], strict=True)}


def test_each_picture_has_the_mask_of_its_name(folders):
    source = images(folders, valid=0.2, test=3)
    facts, sets = source.facts(), source.load()

    assert (facts.input, facts.classes, facts.target) == (Shape((3, 6, 8)), 3, Shape((6, 8)))
    assert [len(part) for part in (sets.train, sets.valid, sets.test)] == [5, 2, 3]
    assert sets.train.y.dtype == np.int64
    found = by_picture(sets)
    for i, y in enumerate(masks_of(10)):
        assert np.array_equal(found[i], y)


@pytest.mark.parametrize("way", ["palette", "colours", "values", "sixteen bits", "bmp"])
def test_a_mask_may_be_a_palette_grey_or_colours(folders, way):
    y, more, names = masks_of(10), {}, ()
    for i, one in enumerate(y):
        path = folders / "masks" / f"{i:02}.png"
        if way == "palette":
            save(path, one, palette=True)
        elif way == "colours":
            save(path, np.array(list(COLOURS.values()), np.uint8)[one])
            more, names = {"classes": COLOURS}, tuple(COLOURS)
        elif way == "values":
            save(path, np.array([0, 100, 255], np.uint8)[one])
            more, names = {"classes": {"a": 0, "b": 100, "c": 255}}, ("a", "b", "c")
        elif way == "sixteen bits":
            save(path, np.array([0, 1000, 40000], np.uint16)[one])
            more, names = {"classes": {"a": 0, "b": 1000, "c": 40000}}, ("a", "b", "c")
        else:
            path.unlink()
            save(path.with_suffix(".bmp"), one)
    source = images(folders, **more)
    sets = source.load()

    assert source.facts().class_names == sets.class_names == names
    for i, one in by_picture(sets).items():
        assert np.array_equal(one, y[i])


def test_values_that_do_not_count(folders):
    y = masks_of(10)
    y[:, 2] = 255
    for i, one in enumerate(y):
        save(folders / "masks" / f"{i:02}.png", one)
    found = by_picture(images(folders, ignore_index=255).load())

    assert all(np.array_equal(found[i], np.where(one == 255, -100, one.astype(int))) for i, one in enumerate(y))
    assert images(folders, ignore_index=255).facts().classes == 3
    (said,) = refusal_of(images(folders), folders)
    assert said.startswith(
        "the masks in masks hold the values `0`, `1`, `2` and `255`, and classes count from 0 on. "
    )
    assert said.endswith("`classes: 4` their number, and `ignore_index: 255` values that do not count.")


@pytest.mark.parametrize(("fit", "size"), [("stretch", [3, 4]), ("crop", [6, 6]), ("pad", [8, 8]), ("pad", [4, 8])])
def test_masks_are_resized_with_their_pictures_by_the_nearest_pixel(tmp_path, fit, size):
    """A picture whose values are its classes stays its own mask, whatever is done to both."""
    y = (np.indices((6, 8)) // 2).sum(0).astype(np.uint8) % 4
    save(tmp_path / "pictures" / "a.png", y * 60)
    save(tmp_path / "masks" / "a.png", y)
    sets = images(tmp_path, fit=fit, size=size, filter="nearest", classes=4).load()

    values, (mask,) = np.round(sets.train.x[0, 0] * 255 / 60), sets.train.y
    assert mask.shape == tuple(size)
    inside = mask != -100
    assert np.array_equal(values[inside], mask[inside])
    assert (values[~inside] == 0).all()
    assert inside.all() == (fit != "pad")
    if fit == "pad":
        shape = (6, 8) if size == [8, 8] else (3, 4)
        assert inside.sum() in (shape[0] * shape[1], 4 * 5)


def test_folders_of_parts_and_parts_elsewhere(folders, tmp_path):
    for kind in ("pictures", "masks"):
        for part, some in {"train": range(6), "test": range(6, 10)}.items():
            (folders / kind / part).mkdir()
            for i in some:
                (folders / kind / f"{i:02}.png").rename(folders / kind / part / f"{i:02}.png")
    apart = images(folders).load()
    named = Images(
        path=folders / "pictures/train",
        masks=folders / "masks/train",
        test_path=folders / "pictures/test",
        test_masks=folders / "masks/test",
    ).load()

    assert [len(part) for part in (apart.train, apart.test)] == [6, 4]
    assert apart.digest == named.digest
    (folders / "masks/test").rename(folders / "masks/valid")
    (said,) = refusal_of(images(folders), folders)
    assert said.startswith("pictures has the parts `train` and `test`, and masks `train` and `valid`. ")


def test_what_streams_is_what_lies_in_memory(folders):
    memory, streamed = (images(folders, stream=stream, test=3, size=[3, 4]).load() for stream in (False, True))

    assert streamed.digest == memory.digest
    assert streamed.train.streams
    assert np.array_equal(streamed.train.y[:], memory.train.y)
    save(folders / "masks/03.png", np.full((6, 8), 7, np.uint8))
    for _ in range(2):  # what is wrong is not kept as a file that would be right
        assert len(refusal_of(images(folders, stream=True, classes=3), folders)) == 1


def test_names_that_do_not_pair_up_are_all_listed(folders):
    (folders / "masks/03.png").unlink()
    (folders / "masks/04.png").rename(folders / "masks/four.png")
    save(folders / "masks/05.bmp", masks_of(1)[0])

    assert [text.partition(". ")[0] for text in refusal_of(images(folders), folders)] == [
        "masks/05.bmp and masks/05.png have one name",
        "2 pictures without a mask in masks: `pictures/03.png` and `pictures/04.png`",
        "1 mask without a picture in pictures: `masks/four.png`",
    ]


def test_sizes_and_values_that_do_not_fit_are_all_listed(folders):
    save(folders / "masks/03.png", np.zeros((8, 6), np.uint8))
    save(folders / "masks/04.png", np.zeros((6, 7), np.uint8))
    assert refusal_of(images(folders), folders) == [
        f"masks/{name}.png has {size} pixels, and its picture pictures/{name}.png 8x6. A mask has a pixel for "
        "each pixel of its picture; `size` brings both to one size."
        for name, size in (("03", "6x8"), ("04", "7x6"))
    ]
    y = masks_of(10)
    y[3, 4, 5] = y[3, 5, 5] = 7
    y[4, 0, 0] = 9
    for i in (3, 4):
        save(folders / f"masks/{i:02}.png", y[i])
    assert [text.partition(". `classes`")[0] for text in refusal_of(images(folders, classes=3), folders)] == [
        "masks/03.png has 2 pixels of the value 7, which is no class: the first at row 4, column 5 from 0 on",
        "masks/04.png has 1 pixel of the value 9, which is no class: the first at row 0, column 0 from 0 on",
    ]
    save(folders / "masks/04.png", np.zeros((6, 8, 3), np.uint8))
    assert refusal_of(images(folders, classes=3), folders)[0].startswith(
        "masks/04.png is in colour (RGB), and the classes of masks are numbers. `classes: {road: ["
    )


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"masks": None, "classes": 3}, "`classes` without `masks` is a list of those that are taken"),
        ({"masks": None, "ignore_index": 3}, "`ignore_index` is of masks, and there is no `masks`"),
        ({"test_path": "b"}, "`test_path` and `test_masks` belong together"),
        ({"stratify": True}, "`stratify` keeps the proportions of the classes of pictures"),
        ({"classes": {"a": 0, "b": [1, 2, 3]}}, "are all values, or all colours"),
        ({"ignore_index": [1, 2, 3]}, "are all values, or all colours"),
        ({"classes": 3, "ignore_index": 2}, "`ignore_index` 2 is the value of a class too"),
        ({"classes": {"a": 0, "b": 0}}, "`classes` gives 0 to two classes"),
        ({"classes": ["a", "a"]}, "`classes` has `a` twice"),
        ({"classes": {"a": 0, "b": [1, 2, 256]}}, "less than or equal to 255"),
    ],
)
def test_options_that_contradict_each_other(more, sentence):
    with pytest.raises(ValidationError, match=sentence.replace("[", r"\[").replace("(", r"\(")):
        Images(**{"path": Path("a"), "masks": Path("m"), **more})


def generated(folder: Path, shuffled: bool = False, **more: object) -> None:
    """A folder of drawn figures with their masks in colour; `shuffled` gives each the mask of another one."""
    sets = Shapes(most=1, noise=0.05, valid=None, **more).load()
    for part in ("train", "test"):
        split = getattr(sets, part)
        order = np.roll(np.arange(len(split)), 1) if shuffled else np.arange(len(split))
        for i, (x, row) in enumerate(zip(split.x, order, strict=True)):
            save(folder / "pictures" / part / f"{i}.png", np.round(np.clip(x[0], 0, 1) * 255).astype(np.uint8))
            save(folder / "masks" / part / f"{i}.png", np.array(list(COLOURS.values()), np.uint8)[split.y[row]])


def unet(folder: Path, *changes: str) -> str:
    data = {"images": {"path": str(folder / "pictures"), "masks": str(folder / "masks"), "classes": COLOURS}}
    (folder / "data").mkdir(exist_ok=True)
    text = (ROOT / "specs/zoo/unet-shapes.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("data:"))
    (folder / "unet.yaml").write_text(text.replace(line, f"data: {json.dumps(data)}"))
    return str(folder / "unet.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_u_net_learns_masks_of_a_folder(tmp_path, shuffled):
    """0.9999 as measured, and 0.232 with the mask of another picture, where all of it is ground."""
    generated(tmp_path, shuffled, train=800, test=200, size=32)
    found = train(unet(tmp_path), ["track.mlflow=false"], runs=tmp_path / "runs")

    assert (found.result["test/iou"] >= 0.9) == (not shuffled)
    if shuffled:
        assert found.result["test/iou"] < 0.3


def test_a_u_net_trains_augmented_and_writes_masks(tmp_path):
    generated(tmp_path, train=20, test=4, size=16)
    changes = [
        "train.epochs=null",
        "train.steps=2",
        "train.augment=[horizontal_flip]",
        "track.mlflow=false",
        "expect=null",
    ]
    run = train(unet(tmp_path), changes, runs=tmp_path / "runs")
    found = predict(run, tmp_path / "pictures/test")

    assert len(found) == 4


def test_a_mistake_has_the_line_of_its_folder(folders):
    (folders / "masks/03.png").unlink()
    text = (
        "dlx: 1\ndata:\n  images:\n    path: pictures\n    masks: masks\nnetwork: {layers: [flatten, {linear: 3}]}\n"
    )
    (folders / "spec.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        trace_all(load(folders / "spec.yaml"))
    assert str(caught.value.problems[0].mark).endswith("spec.yaml:4:5")
    assert "1 picture without a mask" in str(caught.value)
