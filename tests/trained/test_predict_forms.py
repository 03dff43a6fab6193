"""`dlx predict`: boxes, joints and maps by what they mean, columns beside them, thresholds, and files."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from commands import dlx
from PIL import Image
from test_predict import network_of, said, trained

from dlx.data.generated.poses import JOINTS
from dlx.data.python_inputs import read
from dlx.errors import DlxError
from dlx.modules.boxes import overlap
from dlx.objectives.detection import Detection
from dlx.show.ensembles import predictions
from dlx.spec import load
from dlx.trained.answers import answers_of
from dlx.trained.predict import input_record_of, predict

# --- boxes ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """A run that predicts boxes, two in each of 2x2 cells, and four pictures."""
    folder = tmp_path_factory.mktemp("boxes")
    data = "{shapes: {targets: boxes, size: 16, grid: 2, train: 20, valid: 4, test: null}}"
    layers = "[{max_pool: 8}, {conv: {out_channels: 13, kernel_size: 1}}]"
    run = trained(folder, data, layers, objective="objective: detection").results[0].run
    x = load(folder / "s.yaml").data.load().valid.x
    np.save(folder / "x.npy", x)
    return run, folder / "x.npy", x


def boxes_by_hand(output, threshold: float) -> list[tuple[float, int, list[float]]]:
    """Score, class and edges of the boxes of one picture (13, 2, 2), by loops."""
    every = []
    for row in range(2):
        for column in range(2):
            channels = output[:, row, column].tolist()
            kind = max(range(3), key=channels[10:].__getitem__)
            for start in (0, 5):
                sure, across, down, wide, high = channels[start : start + 5]
                middle, size = ((column + across) / 2, (row + down) / 2), (wide**2, high**2)
                edges = [middle[i] - size[i] / 2 for i in (0, 1)] + [middle[i] + size[i] / 2 for i in (0, 1)]
                every.append((sure * channels[10 + kind], kind, edges))
    left = []
    for one in sorted(every, key=lambda box: -box[0]):
        rivals = [box for box in left if box[1] == one[1]]
        if all(overlap(torch.tensor(one[2]), torch.tensor(box[2])) <= 0.5 for box in rivals):
            left.append(one)
    return [one for one in left if one[0] >= threshold]


@pytest.mark.parametrize("threshold", [-9.0, 0.0])
def test_boxes_are_those_that_loops_leave_after_suppression(boxes, threshold):
    run, path, x = boxes
    found, outputs = predict(run, path, threshold=threshold), said(network_of(run), x)
    by_hand = [(i, *one) for i in range(4) for one in boxes_by_hand(outputs[i], threshold)]

    assert found.inputs.tolist() == [i for i, *_ in by_hand]
    assert found.scores == pytest.approx([score for _, score, *_ in by_hand], abs=1e-5)
    assert found.classes.tolist() == [kind for _, _, kind, _ in by_hand]
    assert found.boxes == pytest.approx(np.array([edges for *_, edges in by_hand]).reshape(-1, 4), abs=1e-5)
    assert len(found) == 4


def test_two_boxes_of_one_object_are_one_and_of_two_classes_two(boxes):
    """The rule itself, on boxes that are known: the run above may have none that overlap."""
    run = boxes[0]
    output = torch.zeros(1, 13, 2, 2)
    output[0, :5, 0, 0] = torch.tensor([0.9, 0.5, 0.5, 0.6, 0.6])
    output[0, 5:10, 0, 0] = torch.tensor([0.8, 0.5, 0.5, 0.6, 0.6])  # the same place, less sure
    output[0, 10, 0, 0] = 1.0
    known = input_record_of(run)
    one = answers_of(Detection(), {"": output[None]}, None, known, None)
    output[0, :5, 1, 1] = torch.tensor([0.7, 0.5, 0.5, 0.6, 0.6])  # another place, another class
    output[0, 11, 1, 1] = 1.0
    two = answers_of(Detection(), {"": output[None]}, None, known, None)

    assert one.scores.tolist() == pytest.approx([0.9])
    assert two.scores.tolist() == pytest.approx([0.9, 0.7])
    assert [row[0] for row in two.rows(0)] == list(two.labels[:2])
    assert answers_of(Detection(), {"": output[None]}, None, known, 0.8).scores.tolist() == pytest.approx([0.9])


def test_boxes_are_rows_documents_and_arrays(boxes, tmp_path, capsys):
    run, path, _ = boxes
    found = predict(run, path, threshold=-9)
    count = len(found.boxes)
    document = found.as_json()
    assert document["note"].startswith("boxes with a score of at least -9; of those of a class that overlap by more")
    first = document["predictions"][0]["boxes"][0]
    assert list(first) == ["class", "score", "box"]
    assert first["class"] in document["labels"]
    assert sum(len(one["boxes"]) for one in document["predictions"]) == count
    found.write(tmp_path / "o.csv")
    found.write(tmp_path / "o.npz")
    rows = list(csv.reader((tmp_path / "o.csv").read_text().splitlines()))
    assert (rows[0], len(rows)) == (["input", "class", "score", "left", "top", "right", "bottom"], 1 + count)
    assert np.array_equal(np.load(tmp_path / "o.npz")["boxes"], found.boxes)
    predictions(found, as_json=False, output=None)
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == min(count, 20) + 1
    assert f"{count} boxes with a score of at least -9" in printed.err


# --- joints and maps ------------------------------------------------------------------------------------------------


def test_of_heat_maps_joints_are_predicted_by_their_names(tmp_path):
    data = "{poses: {size: 24, train: 40, valid: null, test: 3}}"
    objective = "objective: {regression: {metrics: [pck]}}"
    run = trained(tmp_path, data, "[{conv: {out_channels: 11, kernel_size: 1}}]", objective=objective).results[0].run
    x = load(tmp_path / "s.yaml").data.load().test.x
    np.save(tmp_path / "x.npy", x)
    found, maps = predict(run, tmp_path / "x.npy"), said(network_of(run), x).numpy()
    row, column = np.unravel_index(maps[1, 3].argmax(), (24, 24))

    assert found.labels == JOINTS
    assert found.joints[1, 3].tolist() == [column, row]
    assert found.scores[1, 3] == pytest.approx(maps[1, 3].max(), abs=1e-6)
    titles, rows = found.rows()
    assert (titles, len(rows)) == (["input", "joint", "x", "y", "score"], 33)
    assert rows[14][:4] == ["1", "left elbow", column, row]
    assert found.as_json()["predictions"][1]["joints"][3]["joint"] == "left elbow"


def test_maps_of_classes_are_pictures_whose_values_are_the_classes(tmp_path):
    shapes = "{shapes: {size: 8, train: 20, valid: null, test: null}}"
    run = trained(tmp_path, shapes, "[{conv: {out_channels: 4, kernel_size: 1}}]").results[0].run
    np.save(tmp_path / "maps.npy", np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32))
    found = predict(run, tmp_path / "maps.npy")
    found.write(tmp_path / "masks")

    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["0.png", "1.png"]
    with Image.open(tmp_path / "masks" / "1.png") as picture:
        assert picture.mode == "P"
        assert len(set(map(tuple, np.reshape(picture.getpalette()[:12], (4, 3)).tolist()))) == 4
        assert np.array_equal(np.asarray(picture), found.classes[1])
    found.write(tmp_path / "o.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert lines[1]["class"] == found.classes[1].tolist()


# --- columns beside -------------------------------------------------------------------------------------------------

ROWS = ["id,size,town,class,price", *(f"{1000 + i},{i % 7},{'abc'[i % 3]},c{i % 2},{i / 7}" for i in range(42))]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    (folder / "t.csv").write_text("\n".join(ROWS))
    data = "{table: {path: t.csv, target: class, columns: [size, town], test: 12}}"
    return trained(folder, data, "[{linear: 2}]").results[0].run, folder / "t.csv"


def test_columns_of_the_file_stand_beside_its_predictions(table, tmp_path):
    run, path = table
    found = predict(run, path, keep=["id", "class"])
    titles, rows = found.rows()

    assert titles == ["input", "id", "class", "predicted class", "p(c0)", "p(c1)"]
    assert [row[1:3] for row in rows[:2]] == [[1000, "c0"], [1001, "c1"]]
    assert found.as_json()["predictions"][3]["columns"] == {"id": 1003, "class": "c1"}
    for name in ("o.csv", "o.parquet", "o.jsonl"):
        found.write(tmp_path / name)
    stored = pq.read_table(tmp_path / "o.parquet")
    assert stored.column_names == titles
    assert stored.column("id").to_pylist() == list(range(1000, 1042))
    assert stored.column("p(c1)").to_pylist() == pytest.approx(found.probabilities[:, 1].tolist())
    assert list(csv.reader((tmp_path / "o.csv").read_text().splitlines()))[5][:3] == ["4", "1004", "c0"]
    assert json.loads((tmp_path / "o.jsonl").read_text().splitlines()[5])["columns"]["id"] == 1005


def test_all_columns_are_kept_by_a_star_and_those_of_a_mapping_too(table):
    run, path = table
    assert list(predict(run, path, keep=["*"]).columns) == ["id", "size", "town", "class", "price"]
    columns = read({"town": ["a", "b"], "size": [1, 2], "who": ["x", "y"]})
    assert predict(run, columns, keep=["who"]).columns == {"who": ["x", "y"]}


def test_arrays_beside_the_inputs_are_kept(tmp_path):
    run = trained(tmp_path, "{synthetic: {shape: [6], classes: 2, train: 40}}", "[{linear: 2}]").results[0].run
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 6)), id=np.array([7, 8, 9]), grid=np.zeros((3, 2)))

    assert predict(run, tmp_path / "x.npz", keep=["id"]).columns == {"id": [7, 8, 9]}
    assert predict(run, tmp_path / "x.npz", keep=["*"]).columns == {"id": [7, 8, 9]}
    with pytest.raises(DlxError, match=r"`grid` of .* is no column of 3 values, one for each input"):
        predict(run, tmp_path / "x.npz", keep=["grid"])
    np.save(tmp_path / "x.npy", np.zeros((3, 6)))
    with pytest.raises(DlxError, match=r"x\.npy has no columns to keep"):
        predict(run, tmp_path / "x.npy", keep=["id"])


# --- thresholds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "objective"), [("[{linear: 2}]", ""), ("[{linear: 1}]", "objective: binary_classification")]
)
def test_a_threshold_decides_between_two_classes(tmp_path, layers, objective):
    data = "{synthetic: {shape: [6], classes: 2, train: 40}}"
    run = trained(tmp_path, data, layers, objective=objective).results[0].run
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 6)))
    likely = predict(run, tmp_path / "x.npy").probabilities[:, 1]
    found = predict(run, tmp_path / "x.npy", threshold=0.7)

    assert found.classes.tolist() == (likely > 0.7).tolist()
    assert 0 < found.classes.sum() < (likely > 0.5).sum()


@pytest.mark.parametrize("threshold", [1e6, 1, 0, -0.5, float("nan")])
@pytest.mark.parametrize("objective", ["binary_classification", "multilabel"])
def test_a_threshold_that_is_no_probability_is_refused(tmp_path, objective, threshold):
    binary = objective == "binary_classification"
    data = "{synthetic: {shape: [6], classes: 2, train: 40}}" if binary else "{label_sets: {train: 40}}"
    run = trained(tmp_path, data, "[{linear: 1}]" if binary else "[{linear: 5}]", objective=f"objective: {objective}")
    width = 6 if binary else 20
    np.save(tmp_path / "x.npy", np.zeros((2, width)))
    with pytest.raises(
        DlxError, match=rf"`--threshold` is {re.escape(f'{threshold:g}')}, and a probability lies between 0 and 1"
    ):
        predict(run.results[0].run, tmp_path / "x.npy", threshold=threshold)


@pytest.mark.parametrize(
    ("data", "layers", "has"),
    [
        ("synthetic: {shape: [6], classes: 3, train: 40}", "{linear: 3}", "there are 3 classes"),
        (
            "synthetic: {shape: [6], classes: null, target: [2], train: 40}",
            "{linear: 2}",
            "`regression` predicts values",
        ),
    ],
)
def test_a_threshold_of_anything_else_is_refused(tmp_path, data, layers, has):
    run = trained(tmp_path, "{" + data + "}", f"[{layers}]").results[0].run
    np.save(tmp_path / "x.npy", np.zeros((2, 6)))
    with pytest.raises(DlxError, match=f"is for the probability of the second of two classes.*{has}"):
        predict(run, tmp_path / "x.npy", threshold=0.7)


# --- the command ----------------------------------------------------------------------------------------------------


def command(*argv: str) -> tuple[int, str]:
    """The exit status of a command, and what it says on stderr."""
    ended = dlx(*argv)
    return ended.returncode, ended.stderr


def test_the_command_keeps_columns_and_says_which_there_are(table, tmp_path):
    run, path = table
    argv = ["predict", str(run.dir), str(path)]
    status, said = command(*argv, "--keep", "id", "--threshold", "0.4", "--output", str(tmp_path / "o.parquet"))
    assert (status, said) == (0, f"42 answers are written to {tmp_path / 'o.parquet'}.\n")
    assert pq.read_table(tmp_path / "o.parquet").column_names == ["input", "id", "class", "p(c0)", "p(c1)"]
    status, said = command(*argv, "--keep", "idd")
    assert (status, said) == (2, f"  {path} has no column `idd`\n  Did you mean `id`?\n")
