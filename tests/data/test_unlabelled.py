"""`target: null`: tables, arrays and pictures without labels, for objectives that read no target."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet as pq

from dlx import predict, train
from dlx.data.arrays.arrays import Arrays
from dlx.data.images.images import Images
from dlx.data.tables.table import Table
from dlx.errors import DataError, SpecError
from dlx.graph import trace_all
from dlx.spec import load

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
SPEC = """dlx: 1
data: {%s, standardize: feature, valid: 10}}
network: {layers: [{linear: 1}, {linear: 3}]}
objective: autoencoder
train: {epochs: 2, batch_size: 10, optimizer: {adam: 0.01}}
track: {mlflow: false}
"""
SOURCES = {"table": "table: {path: x.csv, target: null", "arrays": "arrays: {path: x.npz, target: null"}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(",".join(repr(float(v)) for v in row) for row in X)
    (tmp_path / "x.csv").write_text(f"a,b,c\n{rows}\n")
    np.savez(tmp_path / "x.npz", x=X, y=np.arange(40), test_x=X[:5])
    np.save(tmp_path / "x.npy", X)
    return tmp_path


def spec(files, kind: str):
    (files / "spec.yaml").write_text(SPEC % SOURCES[kind])
    return files / "spec.yaml"


@pytest.mark.parametrize("kind", ["table", "arrays"])
def test_data_without_labels_has_one_field_and_is_trained_on_and_answered(files, kind):
    path = spec(files, kind)
    data = load(path).data
    assert data is not None
    assert [*data.facts().fields] == ["input"]
    assert data.load().train.y.shape == (30, 0)
    run = train(path)
    new = files / ("x.csv" if kind == "table" else "x.npz")
    score = predict(run, new).arrays["score"]
    assert score.shape == (40,)
    assert np.isfinite(score).all()


def test_labels_that_the_file_has_are_not_read(files):
    found = {}
    for last in (0, 7):
        np.savez(files / "x.npz", x=X, y=np.full(40, last))
        sets = Arrays.model_validate({"path": files / "x.npz", "target": None}).load()
        found[last] = sets.digest
    assert found[0] == found[7]
    np.savez(files / "x.npz", x=X + 1)
    assert Arrays.model_validate({"path": files / "x.npz", "target": None}).load().digest != found[0]


def test_parts_of_their_own_and_a_file_of_one_array_need_no_labels(files):
    sets = Arrays.model_validate({"path": files / "x.npz", "target": None}).load()
    assert sets.test is not None
    assert np.array_equal(sets.test.x, X[:5])
    alone = Arrays.model_validate({"path": files / "x.npy", "target": None}).load()
    assert np.array_equal(alone.train.x[np.argsort(alone.train.rows)], X)


@pytest.mark.parametrize("kind", ["table", "arrays"])
@pytest.mark.parametrize("objective", ["objective=regression", "objective=classification", "~objective"])
def test_an_objective_that_learns_a_target_says_so_with_both_lines(files, kind, objective):
    with pytest.raises(SpecError) as error:
        trace_all(load(spec(files, kind), [objective]))
    (problem,) = error.value.problems
    assert "learns a target, and the data has the field `input` alone (" in problem.message
    assert "spec.yaml:2:" in problem.message
    assert "such as `autoencoder`" in problem.hint
    assert problem.path == ("objective" if "=" in objective else f"data.{kind}.target")


def test_a_phase_that_reads_a_target_says_so(files):
    with pytest.raises(SpecError) as error:
        trace_all(load(spec(files, "table"), ["objective={vae: {}}", "~network", f"+networks={LABELLED}"]))
    assert any("the data has none as `target`" in problem.message for problem in error.value.problems)


LABELLED = (
    "{encoder: {inputs: {x: [3], label: {shape: [], dtype: int}}, "
    "layers: [{linear: 2, from: x}]}, decoder: {inputs: {z: [1]}, layers: [{linear: 3}]}}"
)


@pytest.mark.parametrize(
    "option", [{"task": "regression"}, {"stratify": True}, {"labelled": {"count": 3}}, {"label_noise": {"std": 1}}]
)
def test_options_of_targets_are_refused_without_one(files, option):
    for source, path in ((Table, "x.csv"), (Arrays, "x.npz")):
        with pytest.raises(ValueError, match=f"`{next(iter(option))}` is of targets, and `target: null` has none"):
            source.model_validate({"path": files / path, "target": None, **option})


def test_a_table_that_names_no_target_is_told_of_data_without_labels(files):
    with pytest.raises(ValueError, match="or `target: null` for rows without labels"):
        Table.model_validate({"path": files / "x.csv"})
    with pytest.raises(ValueError, match="`stream: true` reads inputs with their targets"):
        Arrays.model_validate({"path": files / "x.npy", "target": None, "stream": True})


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """A folder of 12 grey pictures of 4 x 4, two of them in a folder of their own, and three as a test part."""
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(1).integers(0, 256, (15, 4, 4), dtype=np.uint8)
    for i, one in enumerate(values):
        folder = tmp_path / "faces" / ("test" if i > 11 else "train/more" if i > 9 else "train")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(folder / f"{i:02}.png")
    return values / np.float32(255)


def pictures_of(path, **options):
    return Images.model_validate({"path": path, "target": None, **options})


def test_pictures_of_a_plain_folder_are_read_without_labels(faces, tmp_path):
    data = pictures_of(tmp_path / "faces", split="order")
    assert {name: tuple(one.shape) for name, one in data.facts().fields.items()} == {"input": (1, 4, 4)}
    sets = data.load()
    assert sets.train.y.shape == (12, 0)
    assert {one.tobytes() for one in sets.train.x} == {one[None].tobytes() for one in faces[:12]}
    assert np.array_equal(sets.test.x[:, 0], faces[12:])
    alone = pictures_of(tmp_path / "faces" / "train", valid=3).load()
    assert (len(alone.train.x), len(alone.valid.x)) == (9, 3)


def test_they_are_trained_on_streamed_and_answered(faces, tmp_path):
    text = """dlx: 1
data: {images: {path: faces, target: null, valid: 3}}
network: {layers: [flatten, {linear: 2}, {linear: 16}, {reshape: [1, 4, 4]}]}
objective: autoencoder
train: {epochs: 2, batch_size: 4, optimizer: {adam: 0.01}, seed: 1}
track: {mlflow: false}
"""
    (tmp_path / "spec.yaml").write_text(text)
    run = train(tmp_path / "spec.yaml")
    streamed = train(tmp_path / "spec.yaml", ["+data.images.stream=true"])
    assert run.metrics.equals(streamed.metrics.assign(seconds=run.metrics["seconds"]))
    score = predict(run, tmp_path / "faces" / "test").arrays["score"]
    assert score.shape == (3,)
    assert np.isfinite(score).all()


def test_a_column_of_images_needs_no_column_of_labels(tmp_path):
    cells = []
    for level in (10, 250):
        packed = BytesIO()
        Image.new("L", (4, 4), level).save(packed, "PNG")
        cells.append({"bytes": packed.getvalue(), "path": None})
    pq.write_table(pa.table({"image": cells * 2}), tmp_path / "some.parquet")
    sets = pictures_of(tmp_path / "some.parquet", split="order").load()
    assert sets.train.x[:, 0, 0, 0] * 255 == pytest.approx([10, 250, 10, 250])
    with pytest.raises(DataError, match="has no column `label`"):
        Images.model_validate({"path": tmp_path / "some.parquet"}).load()


@pytest.mark.parametrize("option", [{"classes": ["a", "b"]}, {"label": "kind"}, {"stratify": True}, {"masks": "m"}])
def test_options_of_labels_of_pictures_are_refused_without_them(option):
    with pytest.raises(ValueError, match=f"`{next(iter(option))}` is of targets, and `target: null` has none"):
        pictures_of("faces", **option)


def test_loose_pictures_have_a_way_out(faces, tmp_path):
    with pytest.raises(DataError) as told:
        Images.model_validate({"path": tmp_path / "faces" / "test"}).facts()
    assert "`target: null` for pictures without labels" in told.value.problems[0].hint
