"""What holds for every data source. A new one joins by existing; one that needs files says here which."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import SHIPPED_DATA
from PIL import Image

from dlx.analysis.data.description import described
from dlx.data import DATASETS, Dataset
from dlx.spec import load

COUNTED_WHEN_READ = ("text", "digit_pairs", "digit_triplets")
"""The kinds whose examples are not counted before they are read."""
HIDDEN = -100
"""Class number of a position that does not count, as behind the end of a text."""


@pytest.fixture
def options(tmp_path):
    """The least that each kind must be told."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 60, 4, 4) + bytes(range(240)) * 4)
    labels.write_bytes(struct.pack(">HBBI", 0, 8, 1, 60) + bytes([0, 1, 2] * 20))
    rng = np.random.default_rng(0)
    arrays, table, pictures = tmp_path / "arrays.npz", tmp_path / "table.csv", tmp_path / "pictures"
    np.savez(arrays, x=rng.normal(size=(30, 2, 3)), y=np.arange(30) % 4)
    table.write_text("\n".join(["size,kind,far,price", *(f"{i},{'abc'[i % 3]},true,{i / 7}" for i in range(30))]))
    series = tmp_path / "series.csv"
    series.write_text("\n".join(["t,y", *(f"{i},{i * i % 7}" for i in range(30))]))
    for i in range(12):
        folder = pictures / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    batches = {"cifar10": tmp_path / "ten", "cifar100": tmp_path / "hundred"}
    for kind, folder in batches.items():
        folder.mkdir()
        for file in (*DATASETS[kind].files, DATASETS[kind].test_file):
            records = rng.integers(0, 10, (4, DATASETS[kind].labels + 3072), dtype=np.uint8)
            (folder / file).write_bytes(records.tobytes())
    texts = tmp_path / "texts"
    texts.mkdir()
    for i in range(6):
        (texts / f"{i}.txt").write_text("".join(chr(97 + (i + j) % 26) for j in range(41)))
    return {
        "arrays": {"path": arrays, "valid": 0.2, "test": 10},
        "cifar10": {"path": batches["cifar10"], "valid": 0.2},
        "cifar100": {"path": batches["cifar100"], "valid": 2},
        "images": {"path": pictures, "valid": 0.2, "test": 3},
        "table": {"path": table, "target": "price", "valid": 0.2, "test": 10},
        "idx": {"images": images, "labels": labels, "valid": 0.2, "test": 10},
        "series": {"path": series, "values": "y", "time": "t", "window": 3, "horizon": 2, "valid": 0.2, "test": 6},
        "mnist1d": {"train": 90, "test": 30, "valid": 10},
        "poses": {"train": 60, "test": 20},
        "shapes": {"train": 60, "test": 20},
        "text": {"path": texts, "window": 8, "valid": 2, "test": 2, "split": "random", "unknown": "token"},
        "synthetic": {"shape": [2, 3], "train": 30},
    }


def made(kind: str, options: dict, **more: object) -> Dataset:
    return DATASETS[kind](**options.get(kind, {}), **more)


@pytest.mark.parametrize("kind", SHIPPED_DATA)
def test_facts_are_what_load_brings(kind, options):
    source = made(kind, options)
    facts, sets = source.facts(), source.load()

    assert facts.classes is not None or facts.target is not None
    assert facts.examples == (None if kind in COUNTED_WHEN_READ else len(sets.train))
    # windows of a text are cut when they are taken
    for part in (p.take(slice(None)) for p in (sets.train, sets.valid, sets.test) if p is not None):
        assert len(part) == len(part.x) == len(part.y) > 0
        assert part.x.dtype == (np.float32 if facts.input.dtype == "float" else np.int64)
        assert part.x.shape[1:] == facts.input
        assert np.isfinite(part.x).all()
        if facts.classes is None:
            assert part.y.dtype == np.float32
            assert part.y.shape[1:] == facts.target
        else:
            assert part.y.dtype == np.int64
            assert part.y.shape[1:] == (facts.target or ())
            counted = part.y[part.y != HIDDEN]
            assert 0 <= counted.min() <= counted.max() < facts.classes
    assert len(sets.class_names) in (0, facts.classes)
    assert sets.source


@pytest.mark.parametrize("kind", SHIPPED_DATA)
def test_every_source_is_described(kind, options, tmp_path):
    """`dlx data` counts, measures and shows what `load` brings."""
    text = {name: str(value) if isinstance(value, Path) else value for name, value in options.get(kind, {}).items()}
    (tmp_path / "spec.json.yaml").write_text(json.dumps({"dlx": 1, "data": {kind: text}}))
    found = described(load(tmp_path / "spec.json.yaml"))[""]
    document = json.loads(json.dumps(found.as_json()))
    sets = made(kind, options).load()

    parts = {name: part for name in ("train", "valid", "test") if (part := getattr(sets, name)) is not None}
    assert document["parts"] == {name: len(part) for name, part in parts.items()}
    assert document["digest"] == sets.digest
    shown = [one for one in document["fields"] if one["role"] in ("input", "target")]
    assert {one["name"] for one in shown} == {*sets.named("input"), *sets.named("target")}
    for one in shown:
        values = sets.values(sets.train, one["name"])[:]
        assert one["dtype"] == str(values.dtype)
        assert tuple(one["shape"]) == values.shape[1:]
        assert one["why"]
        whole = values[values != HIDDEN].astype(np.float64) if one["role"] == "target" else values.astype(np.float64)
        figures = [whole.min(), whole.mean(), whole.max(), whole.std()]
        assert list(one["figures"].values()) == pytest.approx(figures, rel=1e-9, abs=1e-12)
    for name, classes in document["classes"].items():
        for part, split in parts.items():
            numbers = sets.values(split, name)[:].reshape(-1)
            counted = np.bincount(numbers[numbers != HIDDEN], minlength=len(classes))
            assert [one[part] for one in classes] == counted.tolist()
    assert len(document["examples"]) == min(5, len(sets.train))


@pytest.mark.parametrize("kind", SHIPPED_DATA)
def test_the_digest_names_the_data(kind, options):
    # the parts of series are cut by time: nothing is drawn
    name = "seed" if "seed" in DATASETS[kind].model_fields else "stride"
    first, again, other = (made(kind, options, **{name: value}).load().digest for value in (1, 1, 2))
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", SHIPPED_DATA)
def test_arrays_are_contiguous_and_native(kind, options):
    train = made(kind, options).load().train
    for array in (train.x[:], train.y[:]):
        assert array.flags.c_contiguous
        assert array.dtype.isnative


@pytest.mark.parametrize("kind", SHIPPED_DATA)
def test_every_source_and_field_is_described(kind):
    cls = DATASETS[kind]
    assert cls.summary().endswith(".")
    assert cls.source
    assert [name for name, field in cls.model_fields.items() if not field.description] == []


def test_listing_and_facts_import_nothing_heavy():
    code = (
        "import sys, dlx.data as d; list(d.DATASETS); d.DATASETS['digits']().facts(); "
        "print([m for m in ('torch', 'numpy', 'scipy', 'sklearn', 'pyarrow', 'pandas', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_loading_needs_neither_scipy_nor_scikit_learn():
    code = (
        "import sys; from dlx.data import DATASETS as d; d['digits']().load(); "
        "d['mnist1d'](train=10, test=10).load(); "
        "print([m for m in ('torch', 'scipy', 'sklearn') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
