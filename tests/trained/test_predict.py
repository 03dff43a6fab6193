"""`dlx predict`: what a network says of inputs that it has not seen, where its data is gone."""

import csv
import json
import subprocess
from pathlib import Path

import commands
import numpy as np
import pytest
import torch
from PIL import Image

from dlx.data import input_record
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.show.ensembles import predictions
from dlx.spec import load
from dlx.trained.predict import predict
from dlx.training.checkpoints import checkpoint
from dlx.training.checkpoints.checkpoint import restore

TRAIN = "train: {epochs: 3, batch_size: 20, optimizer: {adam: 0.02}}\ntrack: {mlflow: false}\n"


def trained(folder: Path, data: str, layers: str, *changes: str, objective: str = "") -> runner.Results:
    path = folder / "s.yaml"
    path.write_text(f"name: s\ndata: {data}\n{objective}\nnetwork: {{layers: {layers}}}\n{TRAIN}")
    return runner.run(load(path, changes), folder / "runs")


def network_of(run, name="final"):
    return restore(run.dir, name)[0]


def said(network, x):
    with torch.inference_mode():
        return network(torch.from_numpy(np.asarray(x, np.float32)))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on preprocessed digits, and raw ones that it has not seen."""
    folder = tmp_path_factory.mktemp("digits")
    results = trained(folder, "{digits: {train: 100, preprocess: [center, {pca: 20}]}}", "[{linear: 10}]")
    raw = load(folder / "s.yaml", ["~data.digits.preprocess"]).data.load()
    return results.results[0].run, raw.train, raw.test


def test_it_says_what_the_network_says_of_preprocessed_inputs(digits, tmp_path):
    run, train, test = digits
    np.save(tmp_path / "x.npy", test.x[:30])
    found = predict(run, tmp_path / "x.npy")
    flat = train.x.reshape(100, -1).astype(np.float64)
    axes = input_record.load(run.dir).steps[1].found["axes"]
    by_hand = said(network_of(run), (test.x[:30].reshape(30, -1) - flat.mean(0)) @ axes).softmax(1)

    assert found.probabilities == pytest.approx(by_hand.numpy(), abs=1e-4)
    assert found.classes.tolist() == by_hand.argmax(1).tolist()
    assert found.labels == tuple("0123456789")
    assert found.names == tuple(map(str, range(30)))


def test_what_was_saved_is_what_was_fitted_to_the_bit(digits):
    run, _, test = digits
    known, sets = input_record.load(run.dir), load(run.dir / "spec.yaml").data.load()

    assert np.array_equal(known.prepared(test.x), sets.test.x)
    assert (tuple(known.raw), tuple(known.facts.input), known.facts.classes) == ((1, 8, 8), (20,), 10)


def test_one_input_bytes_and_other_array_files_are_read(digits, tmp_path):
    run, _, test = digits
    np.save(tmp_path / "one.npy", test.x[0])
    np.savez(tmp_path / "named.npz", digits=test.x[:2])
    np.save(tmp_path / "bytes.npy", np.round(test.x[:2] * 255).astype(np.uint8))
    first = predict(run, tmp_path / "named.npz")

    assert predict(run, tmp_path / "one.npy").probabilities == pytest.approx(first.probabilities[:1], abs=1e-6)
    assert predict(run, tmp_path / "bytes.npy").probabilities == pytest.approx(first.probabilities, abs=0.05)


def test_the_training_data_is_not_wanted(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(5, 3, (60, 5)).astype(np.float32), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    run = trained(tmp_path, "{arrays: {path: a.npz, test: 20, standardize: feature}}", "[{linear: 3}]").results[0].run
    np.save(tmp_path / "new.npy", x[:4])
    before = predict(run, tmp_path / "new.npy").probabilities
    (tmp_path / "a.npz").unlink()

    assert np.array_equal(predict(run, tmp_path / "new.npy").probabilities, before)


def test_channels_last_are_moved_as_in_the_training(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=rng.integers(0, 256, (30, 4, 5, 3), np.uint8), y=np.arange(30) % 2)
    data = "{arrays: {path: a.npz, channels: last, valid: 5}}"
    run = trained(tmp_path, data, "[flatten, {linear: 2}]").results[0].run
    new = rng.integers(0, 256, (3, 4, 5, 3), np.uint8)
    np.save(tmp_path / "new.npy", new)
    by_hand = said(network_of(run), np.moveaxis(new, -1, 1) / np.float32(255))

    assert predict(run, tmp_path / "new.npy").probabilities == pytest.approx(by_hand.softmax(1).numpy(), abs=1e-6)


# --- tables ---------------------------------------------------------------------------------------------------------

ROWS = "\n".join(
    ["size,town,new,price", *(f"{i % 7},{'abc'[i % 3]},{'true' if i % 2 else 'false'},{i / 7}" for i in range(42))]
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    (folder / "t.csv").write_text(ROWS)
    data = "{table: {path: t.csv, target: price, standardize: feature, test: 12}}"
    run = trained(folder, data, "[{linear: 1}]").results[0].run
    (folder / "t.csv").unlink()
    return run


def test_a_table_is_read_by_its_columns_in_any_order(table, tmp_path):
    (tmp_path / "new.csv").write_text("town,extra,new,size\nb,9,true,3\na,9,false,5\n")
    found = predict(table, tmp_path / "new.csv")
    steps = input_record.load(table.dir).steps[0].found
    mean, std = steps["mean"][0, 0], steps["std"][0, 0]
    x = [[(3 - mean) / std, 0, 1, 0, 1], [(5 - mean) / std, 1, 0, 0, 0]]

    weights = checkpoint.read(table.dir / "checkpoints", "final")[1]
    by_hand = torch.tensor(x, dtype=torch.float32) @ weights["linear_1.weight"].T + weights["linear_1.bias"]

    assert found.values == pytest.approx(by_hand.numpy(), abs=1e-5)
    assert found.labels == ("price",)
    assert found.rows()[0] == ["input", "price"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("town,new\nb,true\n", "has no column `size`, which the network was trained on"),
        ("town,new,size\nd,true,3\n", "column `town` of {file} holds `d`, which the training file does not have"),
        ("town,new,size\nb,true,many\n", "column `size` of {file} holds texts, and numbers were trained on"),
        ("town,new,size\nb,true,\nb,true,2\n", "values are missing in {file}"),
        ("town,new,size\n", "{file} holds no rows"),
        ("a,b\n1\n", "{file} cannot be read as CSV"),
    ],
)
def test_a_table_of_another_form_is_refused(table, tmp_path, text, sentence):
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(DlxError) as error:
        predict(table, tmp_path / "new.csv")
    assert sentence.format(file=tmp_path / "new.csv") in str(error.value)


def test_a_value_that_is_missing_is_filled_in_as_in_the_training(tmp_path):
    (tmp_path / "t.csv").write_text(ROWS.replace("\n3,a", "\n,a"))
    data = "{table: {path: t.csv, target: price, drop: [town, new], missing: {size: mean}}}"
    run = trained(tmp_path, data, "[{linear: 1}]").results[0].run
    sizes = load(run.dir / "spec.yaml").data.load().train.x
    (tmp_path / "new.csv").write_text(f"size,town\n,a\n{sizes.mean():.9f},b\n")
    found = predict(run, tmp_path / "new.csv").values

    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_texts_that_are_recorded_have_their_names(tmp_path):
    (tmp_path / "t.csv").write_text(ROWS)
    data = "{table: {path: t.csv, target: town, drop: [price]}}"
    run = trained(tmp_path, data, "[{linear: 3}]").results[0].run
    (tmp_path / "new.csv").write_text("size,new\n1,true\n2,true\n")
    found = predict(run, tmp_path / "new.csv")
    titles, lines = found.rows()

    assert titles == ["input", "class", "p(a)", "p(b)", "p(c)"]
    assert [line[1] for line in lines] == ["abc"[i] for i in found.classes]


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(20):
        (folder / "set" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        image.save(folder / "set" / "ab"[i % 2] / f"{i}.png")
    data = "{images: {path: set, size: 4, standardize: channel}}"
    return trained(folder, data, "[flatten, {linear: 2}]").results[0].run, folder / "set"


def test_pictures_are_resized_and_standardised_as_in_the_training(pictures):
    run, folder = pictures
    found = predict(run, folder)
    train = load(run.dir / "spec.yaml").data.load().train
    by_hand = said(network_of(run), train.x).softmax(1).numpy()

    assert found.labels == ("a", "b")
    assert found.names[:2] == ("a/0.png", "a/10.png")
    assert np.sort(found.probabilities[:, 0]) == pytest.approx(np.sort(by_hand[:, 0]), abs=1e-6)
    alone = predict(run, folder / "a" / "10.png")
    assert alone.names == ("10.png",)
    assert alone.probabilities == pytest.approx(found.probabilities[1:2], abs=1e-6)


def test_pictures_for_a_network_that_sees_none_or_others_are_refused(pictures, digits, table, tmp_path):
    _, folder = pictures
    with pytest.raises(DlxError, match=r"shape \(1, 6, 8\), and `center` was fitted to each value of \(1, 8, 8\)\n"):
        predict(digits[0], folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DlxError, match="empty holds no pictures"):
        predict(digits[0], tmp_path / "empty")
    with pytest.raises(DlxError, match=r"cannot be read as CSV|is a folder, not a file"):
        predict(table, folder)


# --- several networks -----------------------------------------------------------------------------------------------


def test_an_ensemble_and_snapshots_answer_together(tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    data, layers = "{synthetic: {shape: [6], classes: 3, train: 60, test: 20}}", "[{linear: 3}]"
    both = trained(tmp_path, data, layers, "+train.ensemble=2")
    found = predict(both.together.run, tmp_path / "x.npy")
    p = torch.stack([said(network_of(r.run), x).softmax(1) for r in both.results]).mean(0)
    assert found.probabilities == pytest.approx(p.numpy(), abs=1e-6)
    assert (found.members, found.combine) == (2, "average")

    cycles = ["+train.ensemble={snapshots: 2}", "+train.schedule.cosine_restarts={T_0: 3, unit: step}"]
    one = trained(tmp_path, data, layers, *cycles).results[0].run
    p = torch.stack([said(network_of(one, f"snapshot-{n}"), x).softmax(1) for n in (2, 3)]).mean(0)
    assert predict(one, tmp_path / "x.npy").probabilities == pytest.approx(p.numpy(), abs=1e-6)
    alone = predict(one, tmp_path / "x.npy", "snapshot-1")
    assert alone.probabilities == pytest.approx(said(network_of(one, "snapshot-1"), x).softmax(1).numpy(), abs=1e-6)


# --- other objectives, files, the command ---------------------------------------------------------------------------


def test_one_logit_gives_two_probabilities_and_a_map_a_class_at_each_position(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    data = "{synthetic: {shape: [6], classes: 2, train: 40}}"
    run = trained(tmp_path, data, "[{linear: 1}]", objective="objective: binary_classification").results[0].run
    p = said(network_of(run), x).sigmoid().squeeze(1)
    found = predict(run, tmp_path / "x.npy")
    assert found.probabilities == pytest.approx(torch.stack([1 - p, p], 1).numpy(), abs=1e-6)
    assert found.classes.tolist() == (p > 0.5).long().tolist()

    np.save(tmp_path / "maps.npy", np.zeros((2, 1, 8, 8), np.float32))
    shapes = "{shapes: {size: 8, train: 20, valid: null, test: null}}"
    mapped = predict(trained(tmp_path, shapes, "[{conv: {out_channels: 4, kernel_size: 1}}]").results[0].run,
                     tmp_path / "maps.npy")  # fmt: skip
    assert mapped.classes.shape == (2, 8, 8)
    with pytest.raises(DlxError, match="no line of a table"):
        mapped.write(tmp_path / "o.csv")
    mapped.write(tmp_path / "o.npz")
    assert np.array_equal(np.load(tmp_path / "o.npz")["classes"], mapped.classes)


@pytest.mark.parametrize(
    ("name", "array", "sentence"),
    [
        (
            "x.npy",
            np.zeros((3, 2)),
            "holds an array of shape (3, 2), and the network was trained on inputs of shape (1, 8, 8)",
        ),
        ("x.npy", np.array([["a"]]), "holds <U1, and real numbers are wanted"),
        ("x.npy", np.full((2, 1, 8, 8), np.nan), "holds 128 values that are not finite"),
        ("x.yaml", None, "ends in .yaml, and inputs of shape (1, 8, 8) are read from arrays and pictures"),
        ("x.npz", None, "cannot be read"),
        ("gone.npy", None, "does not exist"),
    ],
)
def test_a_file_of_something_else_is_refused(digits, tmp_path, name, array, sentence):
    path = tmp_path / name
    if array is not None:
        np.save(path, array)
    elif not name.startswith("gone"):
        path.write_text("a: 1")
    with pytest.raises(DlxError) as error:
        predict(digits[0], path)
    assert sentence in str(error.value)


def test_the_command_prints_writes_and_refuses(digits, tmp_path):
    run, _, test = digits
    np.save(tmp_path / "x.npy", test.x[:25])
    found = predict(run, tmp_path / "x.npy")

    def dlx(*argv: str) -> subprocess.CompletedProcess[str]:
        return commands.dlx("predict", run.dir, *argv, cwd=tmp_path)

    printed = dlx("x.npy")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.splitlines()[0].split()[:3] == ["input", "class", "p(0)"]
    assert len(printed.stdout.splitlines()) == 21
    assert printed.stderr == "5 more: `--output FILE.csv` writes all of them.\n"

    assert dlx("x.npy", "--output", "o.csv").stderr == "25 answers are written to o.csv.\n"
    rows = list(csv.reader((tmp_path / "o.csv").read_text().splitlines()))
    assert [row[1] for row in rows[1:]] == [found.labels[i] for i in found.classes]
    assert [float(v) for v in rows[3][2:]] == pytest.approx(found.probabilities[2].tolist(), abs=1e-6)

    document = json.loads(dlx("x.npy", "--json").stdout)
    assert list(document) == ["run", "file", "members", "combine", "labels", "predictions"]
    assert document["predictions"][2]["class"] == found.labels[found.classes[2]]
    assert document["predictions"][2]["probabilities"] == pytest.approx(found.probabilities[2].tolist(), abs=1e-6)

    wrong = dlx("x.npy", "--output", "o.txt")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "  o.txt ends in .txt\n  Answers are written to .csv, .parquet, .jsonl or .npz.\n",
    )


# --- every objective ------------------------------------------------------------------------------------------------


def held_out(run, tmp_path) -> tuple[Path, np.ndarray]:
    """The raw inputs of the test part in a file, and its targets."""
    test = load(run.dir / "spec.yaml").data.load().test
    np.save(tmp_path / "test.npy", test.x)
    return tmp_path / "test.npy", test.y


MIXTURE = "objective: {regression: {loss: {mixture_density: {components: 3}}}}"


@pytest.mark.parametrize(
    ("data", "layers", "objective", "metric"),
    [
        ("synthetic: {shape: [6], classes: 3, test: 30}", "{linear: 3}", "", "accuracy"),
        ("synthetic: {shape: [6], classes: 3, test: 30}", "{linear: 3}",
         "objective: {classification: {loss: squared_error}}", "accuracy"),
        ("synthetic: {shape: [6], classes: 2, test: 30}", "{linear: 1}",
         "objective: binary_classification", "accuracy"),
        ("synthetic: {shape: [6], classes: null, target: [2], test: 30}", "{linear: 2}", "", "mse"),
        ("synthetic: {shape: [6], classes: null, target: [1], test: 30}", "{linear: 9}", MIXTURE, "mse"),
        ("shapes: {size: 8, valid: null, test: 10}", "{conv: {out_channels: 4, kernel_size: 1}}", "", "accuracy"),
        ("poses: {size: 24, valid: null, test: 5}", "{conv: {out_channels: 11, kernel_size: 1}}", "", "mse"),
    ],
)  # fmt: skip
def test_what_is_predicted_is_what_the_run_was_measured_by(tmp_path, data, layers, objective, metric):
    data = "{" + data.replace("test:", "train: 40, test:") + "}"
    result = trained(tmp_path, data, f"[{layers}]", objective=objective).results[0]
    path, y = held_out(result.run, tmp_path)
    found = predict(result.run, path)
    measured = (found.classes == y).mean() if metric == "accuracy" else np.square(found.values - y).mean()

    assert measured == pytest.approx(result.metrics[f"test/{metric}"], rel=1e-5)


def test_of_several_outputs_the_one_that_is_trained_for_is_predicted(tmp_path):
    data = "{synthetic: {shape: [6], classes: 3, train: 60, test: 30}}"
    layers = "[{linear: 3, name: side}, relu, {linear: 3, name: head}], outputs: {beside: side, main: head}"
    (tmp_path / "s.yaml").write_text(
        f"name: s\ndata: {data}\nobjective: {{classification: {{aux: {{beside: 0.3}}}}}}\n"
        f"network: {{layers: {layers}}}\n{TRAIN}"
    )
    result = runner.run(load(tmp_path / "s.yaml"), tmp_path / "runs").results[0]
    path, y = held_out(result.run, tmp_path)

    assert (predict(result.run, path).classes == y).mean() == pytest.approx(result.metrics["test/accuracy"])


def test_of_many_classes_a_line_has_the_one_that_is_said(tmp_path, capsys):
    data = "{synthetic: {shape: [6], classes: 50, train: 60}}"
    run = trained(tmp_path, data, "[{linear: 50}]").results[0].run
    np.save(tmp_path / "x.npy", np.zeros((2, 6), np.float32))
    found = predict(run, tmp_path / "x.npy")
    predictions(found, as_json=False, output=None)
    printed = capsys.readouterr()

    assert printed.out.splitlines()[0].split() == ["input", "class", "p"]
    assert float(printed.out.splitlines()[1].split()[2]) == pytest.approx(found.probabilities[0].max(), rel=1e-3)
    assert printed.err == "The probabilities of all 50 classes: `--output FILE.csv` writes them.\n"
    found.write(tmp_path / "o.csv")
    assert len((tmp_path / "o.csv").read_text().splitlines()[0].split(",")) == 52
