"""Some classes of a source, and several targets of published and generated sets."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from dlx.api.trainings import train
from dlx.data.generated.shapes import Shapes
from dlx.data.images.images import Images
from dlx.data.published.cifar import CIFAR10, CIFAR100
from dlx.data.published.digits import Digits, embedded
from dlx.data.published.idx import IDX
from dlx.errors import DataError

FINE = [f"f{i}" for i in range(100)]
COARSE = [f"c{i}" for i in range(20)]


def idx(folder: Path, count: int = 40, start: int = 0) -> dict[str, Path]:
    """Pictures of one value each, 4 times its class."""
    labels = (np.arange(count) + start) % 4
    images = np.repeat(4 * labels, 9).astype(np.uint8)
    (folder / "images").write_bytes(struct.pack(">HBB3I", 0, 8, 3, count, 3, 3) + images.tobytes())
    (folder / "labels").write_bytes(struct.pack(">HBBI", 0, 8, 1, count) + labels.astype(np.uint8).tobytes())
    return {"images": folder / "images", "labels": folder / "labels"}


def hundred(folder: Path, count: int = 200) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for file in ("train.bin", "test.bin"):
        fine = rng.permutation(count) % 100
        records = np.zeros((count, 2 + 3072), np.uint8)
        records[:, 0], records[:, 1], records[:, 2:] = fine // 5, fine, fine[:, None]
        (folder / file).write_bytes(records.tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(FINE))
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE))
    return folder


def refusal_of(source) -> str:
    with pytest.raises(DataError) as caught:
        source.load()
    return str(caught.value)


def test_idx_takes_some_classes_in_their_order(tmp_path):
    source = IDX(**idx(tmp_path), classes=[3, 1], valid=0.2)
    facts, sets = source.facts(), source.load()

    assert (facts.classes, sets.class_names) == (2, ("3", "1"))
    assert (len(sets.train), len(sets.valid)) == (16, 4)
    value = np.round(sets.train.x[:, 0, 0, 0] * 255 / 4)
    assert np.array_equal(np.where(value == 3, 0, 1), sets.train.y)
    assert set(value) == {1, 3}
    assert "has no class 4, which `classes` names: there are 4, from 0 on" in refusal_of(
        IDX(**idx(tmp_path), classes=[0, 4])
    )


def test_digits_takes_them_as_before():
    sets = Digits(classes=[7, 5], valid=None, test=None).load()
    _, labels = embedded()

    assert sets.class_names == ("7", "5")
    assert np.bincount(sets.train.y).tolist() == [(labels == 7).sum(), (labels == 5).sum()]


def test_cifar_takes_classes_by_name_or_number(tmp_path):
    folder = hundred(tmp_path / "c")
    source = CIFAR100(path=folder, classes=["f7", 3], valid=0.5)
    facts, sets = source.facts(), source.load()

    assert (facts.classes, facts.class_names, sets.class_names) == (2, ("f7", "f3"), ("f7", "f3"))
    assert [len(part) for part in (sets.train, sets.valid, sets.test)] == [2, 2, 4]
    value = np.round(sets.test.x[:, 0, 0, 0] * 255)
    assert np.array_equal(value, np.where(sets.test.y == 0, 7, 3))
    assert "has no class `f77x`, which `classes` names" in refusal_of(CIFAR100(path=folder, classes=["f77x", 3]))
    assert "names the class 3 of" in refusal_of(CIFAR100(path=folder, classes=["f3", 3]))
    with pytest.raises(ValidationError, match="`classes` has 3 twice"):
        CIFAR10(path=folder, classes=[3, 3])


def test_cifar_100_has_fine_and_coarse_labels(tmp_path):
    folder = hundred(tmp_path / "c")
    both = CIFAR100(path=folder, targets=["coarse", "fine"], valid=0.25, stratify=True)
    facts, sets = both.facts(), both.load()

    assert {n: (one.classes, len(one.names)) for n, one in facts.targets.items()} == {
        "coarse": (20, 20),
        "fine": (100, 100),
    }
    value = np.round(sets.train.x[:, 0, 0, 0] * 255)
    assert np.array_equal(sets.values(sets.train, "fine"), value)
    assert np.array_equal(sets.values(sets.train, "coarse"), value // 5)
    one = CIFAR100(path=folder, targets=["coarse"])
    assert (one.facts().classes, one.load().class_names) == (20, tuple(COARSE))
    assert np.array_equal(one.load().train.y, np.round(one.load().train.x[:, 0, 0, 0] * 255) // 5)
    with pytest.raises(ValidationError, match="`classes` chooses among the fine ones"):
        CIFAR100(path=folder, targets=["coarse"], classes=[1, 2])


def test_images_take_some_folders(tmp_path):
    for i in range(12):
        folder = tmp_path / "p" / ("cat", "dog", "emu")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 20 * i, np.uint8)).save(folder / f"{i}.png")
    for stream in (False, True):
        source = Images(path=tmp_path / "p", classes=["emu", "cat"], stream=stream)
        sets = source.load()
        number = np.round(sets.train.x[:][:, 0, 0, 0] * 255 / 20)

        assert (source.facts().classes, sets.class_names) == (2, ("emu", "cat"))
        assert np.array_equal(sets.train.y, np.where(number % 3 == 2, 0, 1))
        assert len(sets.train) == 8
    assert "has no class `cow`, which `classes` names" in refusal_of(
        Images(path=tmp_path / "p", classes=["cow", "cat"])
    )
    with pytest.raises(ValidationError, match="is a list of those that are taken"):
        Images(path=tmp_path / "p", classes=2)


def test_figures_with_several_targets_are_those_with_one():
    options = {"train": 40, "valid": None, "test": None, "size": 16}
    several = Shapes(targets=["positions", "heat_maps"], **options)
    sets = several.load()
    one, maps = (Shapes(targets=name, **options).load() for name in ("positions", "heat_maps"))

    assert list(several.facts().targets) == ["positions", "heat_maps"]
    assert np.array_equal(sets.train.x, one.train.x)
    assert np.array_equal(sets.values(sets.train, "positions"), one.train.y)
    assert np.array_equal(sets.values(sets.train, "heat_maps"), maps.train.y)
    boxes = Shapes(targets=["class", "boxes"], **options).load()
    kind = boxes.values(boxes.train, "boxes")[:, 5:].max((2, 3)).argmax(1)
    assert np.array_equal(kind, boxes.values(boxes.train, "class"))
    with pytest.raises(ValidationError, match="`targets` has boxes twice"):
        Shapes(targets=["boxes", "boxes"])


def test_two_heads_learn_the_labels_of_cifar_100(tmp_path):
    hundred(tmp_path / "c", 100)
    text = f"""
dlx: 1
data: {{cifar100: {{path: {tmp_path}/c, targets: [fine, coarse]}}}}
network:
  layers:
    - {{avg_pool: 32, name: pooled}}
    - {{flatten: , name: flat}}
    - {{linear: 100, name: fine}}
    - {{linear: 20, name: coarse, from: flat}}
  outputs: {{fine: fine, coarse: coarse}}
objective: {{fine: classification, coarse: classification}}
train: {{steps: 2, batch_size: 50, device: cpu}}
track: {{mlflow: false}}
"""
    found = train(text, runs=tmp_path / "runs")

    assert {"test/fine/accuracy", "test/coarse/accuracy"} <= found.result.keys()
