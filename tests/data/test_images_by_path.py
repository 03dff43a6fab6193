"""Parquet and Arrow files that give pictures by their paths, as `datasets` writes them, inside their own folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import experiment_of
from test_images import pixels, png, refusal_of, save

from dlx.data.images.images import Images
from dlx.training.prepared import loaded

LEVELS = [10, 60, 110, 160]


def table_of(paths: list[str | None], content: list[bytes | None] | None = None) -> pa.Table:
    content = content or [None] * len(paths)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [{"bytes": data, "path": path} for data, path in zip(content, paths, strict=True)]
    return pa.table({"image": pa.array(cells, kind), "label": [i % 2 for i in range(len(paths))]})


@pytest.fixture
def home(tmp_path) -> Path:
    for level in LEVELS:
        save(tmp_path / "home" / "pictures" / f"{level}.png", pixels(level))
    return tmp_path / "home"


def paths_of(home: Path, way: str) -> list[str]:
    inside = [home / "pictures" / f"{level}.png" for level in LEVELS]
    return [str(path) if way == "absolute" else str(path.relative_to(home)) for path in inside]


@pytest.mark.parametrize("way", ["absolute", "relative"])
@pytest.mark.parametrize("statistics", [True, False])
def test_pictures_given_by_path_are_those_with_their_bytes(home, way, statistics):
    pq.write_table(table_of(["x"] * 4, [png(pixels(level)) for level in LEVELS]), home / "whole.parquet")
    mixed = [None, png(pixels(LEVELS[1])), None, None]
    pq.write_table(
        table_of(paths_of(home, way), mixed), home / "paths.parquet", write_statistics=statistics, row_group_size=2
    )

    whole, by_path = Images(path=home / "whole.parquet").load(), Images(path=home / "paths.parquet").load()
    assert np.array_equal(by_path.train.x, whole.train.x)
    assert len(np.unique(whole.train.x.reshape(4, -1), axis=0)) == 4
    assert by_path.train.y.tolist() == whole.train.y.tolist()
    assert by_path.train.rows.tolist() == whole.train.rows.tolist()


def test_arrow_files_and_files_in_a_folder_of_their_own_too(home):
    with pa.OSFile(str(home / "train.arrow"), "wb") as out, pa.ipc.new_stream(out, table_of(["x"]).schema) as stream:
        stream.write_table(table_of(paths_of(home, "relative")))
    (home / "deep" / "data").mkdir(parents=True)
    save(home / "deep" / "one.png", pixels(7))
    pq.write_table(table_of(["../one.png"] * 2), home / "deep" / "data" / "train-0.parquet")

    train = Images(path=home / "train.arrow").load().train
    darkest = [train.x[list(train.rows).index(row)].min() for row in range(4)]
    assert darkest == pytest.approx([level / 255 for level in LEVELS], abs=1e-6)
    assert len(Images(path=home / "deep").load().train) == 2


def test_the_digest_follows_the_pictures_and_not_their_names_alone(home):
    pq.write_table(table_of(paths_of(home, "relative")), home / "a.parquet")
    source = Images(path=home / "a.parquet", stream=True)
    before = source.load()
    save(home / "pictures" / "60.png", pixels(61))
    after = source.load()

    assert before.digest != after.digest
    equal = [np.array_equal(before.train.x[i : i + 1], after.train.x[i : i + 1]) for i in range(4)]
    assert [row for row, same in zip(before.train.rows, equal, strict=True) if not same] == [1]


def test_a_picture_outside_the_data_s_own_folder_is_never_read(home, tmp_path):
    secret = save(tmp_path / "secret.png", pixels(5))
    (home / "link.png").symlink_to(secret)
    said = "names a picture outside home | Only pictures inside that folder are read: bring them there. "
    for path in (str(secret), "../secret.png", "pictures/../../secret.png", "link.png"):
        pq.write_table(table_of([path, path]), home / "a.parquet")
        assert refusal_of(Images(path=home / "a.parquet"), tmp_path) == (
            f"row 0 of home/a.parquet ({path.replace(f'{tmp_path}/', '')}) {said}"
            "Or write the file with the images inside, as bytes."
        )


def test_parts_under_other_names_are_named_where_they_lie(tmp_path):
    """`val` beside `train` is no part while `path` is the folder `train`, and `val_set` is none at all."""
    for part in ("train", "val", "testing"):
        for i in range(4):
            save(tmp_path / "home" / part / "ab"[i % 2] / f"{i}.png", pixels(40 * i))
    spec = "data: {{images: {{path: {path}{more}}}}}\nnetwork: {{layers: [flatten, {{linear: 2}}]}}\n"

    def notes(path: Path, more: str = "") -> tuple[str, ...]:
        return loaded(experiment_of("name: s\n" + spec.format(path=path, more=more))).notes

    home = tmp_path / "home"
    assert notes(home / "train") == (
        (
            f"nothing is held out, and `val` and `testing` lie beside `train`: `valid_path: {home / 'val'}, "
            f"test_path: {home / 'testing'}` takes what is there"
        ),
    )
    assert notes(home / "train", f", valid_path: {home / 'val'}") == notes(home / "train", ", valid: 0.5") == ()
    assert notes(home) == ()

    (home / "testing").rename(home / "test_set")
    assert refusal_of(Images(path=home), tmp_path) == (
        "home has the folders `test_set`, `train` and `val`, and `test_set` is the name of no part | "
        "Call it `test`, or give the parts by themselves: `path`, `valid_path`, `test_path`."
    )
    (home / "val").rename(home / "walrus")
    assert Images(path=home).load().class_names == (
        "test_set",
        "train",
        "walrus",
    )  # classes, whatever they are called


def test_a_picture_that_is_not_there_or_not_named_is_told_with_its_row(home, tmp_path):
    pq.write_table(table_of(["pictures/10.png", "pictures/11.png"]), home / "a.parquet")
    assert refusal_of(Images(path=home / "a.parquet"), tmp_path) == (
        "row 1 of home/a.parquet (pictures/11.png) names a picture that is not there | "
        "Put it back. Or write the file with the images inside, as bytes."
    )
    pq.write_table(table_of([None, None]), home / "a.parquet")
    assert refusal_of(Images(path=home / "a.parquet"), tmp_path) == (
        "row 0 of home/a.parquet has neither bytes nor a path of its image | "
        "Write the file with the images inside, as bytes."
    )
