"""Pictures that are decoded once and read from there, and data sets that Hugging Face's `datasets` saved."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_images import parquet, pixels, png, refusal_of, save

from dlx.data import cache
from dlx.data.images.images import Images
from dlx.data.tables.table import Table


@pytest.fixture
def decoded(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DLX_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "images"


@pytest.fixture
def folder(tmp_path) -> Path:
    for i in range(30):
        save(tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i:02}.png", pixels(8 * i))
    return tmp_path / "pictures"


def test_pictures_on_disk_are_those_in_memory(folder, decoded):
    options = {"path": folder, "valid": 0.2, "standardize": "channel", "size": 5}
    in_memory, streamed = (Images(**options, stream=stream).load() for stream in (False, True))
    (file,) = decoded.iterdir()
    assert in_memory.digest == streamed.digest
    np.testing.assert_array_equal(in_memory.valid.x, streamed.valid.x[:])
    assert (streamed.train.streams, in_memory.train.streams) == (True, False)
    assert streamed.notes == (f"decoded pictures are read from {file}",)
    assert file.stat().st_size < 30 * 3 * 5 * 5 + 200  # a byte a value


def test_they_are_decoded_once_and_again_where_a_picture_changes(folder, decoded, monkeypatch):
    Images(path=folder, stream=True).load()
    (file,) = decoded.iterdir()
    made = file.stat().st_ino
    Images(path=folder, stream=True, valid=3).load()
    assert [p.stat().st_ino for p in decoded.iterdir()] == [made]
    save(folder / "cat" / "00.png", pixels(99))
    Images(path=folder, stream=True).load()
    Images(path=folder, stream=True, channels=1).load()
    assert len(list(decoded.iterdir())) == 3


def test_sixteen_bits_stay_what_they_are(tmp_path, decoded):
    for i in range(4):
        save(tmp_path / "p" / "ab"[i % 2] / f"{i}.png", np.full((2, 3), 1000 * i + 7, np.uint16))
    in_memory, streamed = (Images(path=tmp_path / "p", stream=stream).load() for stream in (False, True))
    assert in_memory.digest == streamed.digest
    save(tmp_path / "p" / "b" / "9.png", pixels(5, 2, 3, channels=1))
    assert Images(path=tmp_path / "p", stream=True).load().digest == Images(path=tmp_path / "p").load().digest
    save(tmp_path / "p" / "a" / "0.png", pixels(5, 2, 3, channels=1))
    assert refusal_of(Images(path=tmp_path / "p", stream=True), tmp_path) == (
        "the first picture of p has 8 bits and others 16, which do not stream together | "
        "Give `stream: false`, or save them with the same depth."
    )
    assert len(list(decoded.iterdir())) == 2


def test_a_torn_picture_leaves_nothing_behind(folder, decoded):
    (folder / "dog" / "01.png").write_bytes(b"torn")
    assert refusal_of(Images(path=folder, stream=True), folder).startswith(
        "dog/01.png is not an image of a known format"
    )
    assert list(decoded.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_reported(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DLX_CACHE", str(tmp_path / "file"))
    sentence = refusal_of(Images(path=folder, stream=True), tmp_path)
    assert sentence.startswith("file/images/")
    assert sentence.endswith(".npy cannot be written: Not a directory | `DLX_CACHE` names another folder.")


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", {}, "/home/me/.cache/dlx"),
        ("linux", {"XDG_CACHE_HOME": "/c"}, "/c/dlx"),
        ("darwin", {}, "/home/me/Library/Caches/dlx"),
        ("darwin", {"DLX_CACHE": "/here"}, "/here"),
    ],
)
def test_the_cache_is_where_the_platform_has_it(monkeypatch, platform, variable, folder):
    for name in ("DLX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variable}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cache.sys, "platform", platform)
    assert cache.cache_folder() == Path(folder)


# --- saved by `datasets` --------------------------------------------------------------------------------------------


def saved(folder: Path, levels: list[int], labels: list[int], inside: bool = True, shards: int = 1) -> Path:
    """What `Dataset.save_to_disk` writes: streams of Arrow batches, what they hold, and which files count."""
    folder.mkdir(parents=True)
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    cells = [{"bytes": png(pixels(level)), "path": None} for level in levels]
    table = pa.table({"image": cells, "label": labels})
    if inside:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    size = -(-len(levels) // shards)
    for i, name in enumerate(names):
        part = table.slice(i * size, size)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(part, max_chunksize=2)
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "cache-0123.arrow").write_bytes(b"of an earlier map()")
    return folder


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_saved_data_set(tmp_path, inside, shards):
    path = saved(tmp_path / "set", list(range(10, 17)), [0, 1, 1, 0, 0, 1, 0], inside, shards)
    sets = Images(path=path, stream=False).load()
    order = np.argsort(sets.train.x[:, 0, 0, 0])
    assert (sets.train.x[order, 0, 0, 0] * 255).round().tolist() == list(range(10, 17))
    assert sets.train.y[order].tolist() == [0, 1, 1, 0, 0, 1, 0]
    assert sets.class_names == ("cat", "dog")
    assert Images(path=path, stream=True).load().digest == sets.digest


def test_a_saved_dictionary_of_data_sets_has_its_parts(tmp_path):
    for part, levels in {"train": [1, 2, 3], "test": [4], "validation": [5, 6]}.items():
        saved(tmp_path / "d" / part, levels, [level % 2 for level in levels])
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test", "validation"]}')
    sets = Images(path=tmp_path / "d").load()
    assert [len(part) for part in (sets.train, sets.valid, sets.test)] == [3, 2, 1]


def test_folders_of_parts_may_hold_parquet_files(tmp_path):
    parquet(tmp_path / "d" / "train" / "a.parquet", [1, 2, 3], [0, 1, 0])
    parquet(tmp_path / "d" / "test" / "a.parquet", [4], [1])
    assert len(Images(path=tmp_path / "d").load().test) == 1


def test_what_is_wrong_with_a_saved_data_set(tmp_path):
    path = saved(tmp_path / "set", [1, 2], [0, 1])
    (path / "data-00000-of-00001.arrow").write_bytes(b"torn")
    assert refusal_of(Images(path=path), path).startswith("data-00000-of-00001.arrow cannot be read as Arrow: ")
    (path / "state.json").write_text("{}")
    assert refusal_of(Images(path=path), path) == "state.json does not name the files of a data set | Save it again."


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_a_table_of_arrow(tmp_path, new):
    table = pa.table({"a": [1.0, 2.0, 4.0], "kind": ["x", "y", "x"]})
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as file, new(file, table.schema) as out:
        out.write_table(table)
    train = Table(path=tmp_path / "t.arrow", target="kind").load().train
    assert sorted(zip(train.x[:, 0].tolist(), train.y.tolist(), strict=True)) == [(1, 0), (2, 1), (4, 0)]


def test_the_tests_keep_their_cache_apart():
    assert "pytest" in os.environ["DLX_CACHE"]
