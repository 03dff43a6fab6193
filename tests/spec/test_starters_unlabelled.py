"""`dlx new --data` of data without labels: an autoencoder that trains to better than the mean of the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from dlx.cli import app
from dlx.errors import DlxError
from dlx.experiment.runner import run
from dlx.spec import load, starter

ROWS = 120


def written(folder: Path, data: Path, **options) -> dict:
    starter.write_for(folder / "s.yaml", data, force=True, **options)
    return yaml.safe_load((folder / "s.yaml").read_text())


def mse(folder: Path, *changes: str) -> float:
    plain = ["track.mlflow=false", *changes]
    return run(load(folder / "s.yaml", plain), folder / "runs").results[0].metrics["test/mse"]


def pictures(folder: Path, size: tuple[int, int] = (8, 8), colour: bool = False) -> Path:
    """Pictures whose left half is of one brightness and whose right half is of another."""
    rng, (width, height) = np.random.default_rng(0), size
    folder.mkdir(parents=True)
    for i in range(60):
        x = np.zeros((height, width), np.uint8)
        x[:, : width // 2], x[:, width // 2 :] = rng.integers(0, 256, 2)
        Image.fromarray(np.stack([x] * 3, -1) if colour else x).save(folder / f"{i}.png")
    return folder


def test_a_folder_of_loose_pictures_gets_an_autoencoder_that_learns_them(tmp_path):
    spec = written(tmp_path, pictures(tmp_path / "faces"))
    images = spec["data"]["images"]
    assert images == {"path": "faces", "target": None, "valid": 0.15, "test": 0.15}
    assert spec["objective"] == "autoencoder"
    # the mean of all pixels is off by the variance of a uniform brightness, 255^2 / 12 / 255^2
    assert mse(tmp_path, "train.epochs=60", "~train.samples") < 0.5 / 12


@pytest.mark.parametrize(
    ("size", "colour", "expected"), [((10, 10), True, 12), ((10, 8), False, [8, 12]), ((200, 100), True, 64)]
)
def test_pictures_of_a_size_that_is_not_halved_twice_are_resized(tmp_path, size, colour, expected):
    spec = written(tmp_path, pictures(tmp_path / "faces", size, colour))
    assert spec["data"]["images"]["size"] == expected
    mse(tmp_path, "~train.epochs", "+train.steps=2")


def test_pictures_of_classes_are_without_labels_where_that_is_asked_for(tmp_path):
    pictures(tmp_path / "pets" / "cat")
    pictures(tmp_path / "pets" / "dog")
    assert "networks" not in written(tmp_path, tmp_path / "pets")
    spec = written(tmp_path, tmp_path / "pets", unlabelled=True)
    assert spec["data"]["images"]["target"] is None
    assert "120 pictures without labels" in (tmp_path / "s.yaml").read_text()


def test_a_table_without_a_target_keeps_all_columns_and_trains(tmp_path):
    rng = np.random.default_rng(0)
    a, kind = rng.normal(size=ROWS), rng.integers(0, 2, ROWS)
    lines = [f"{i},{a[i]:.3f},{2 * a[i] + 1:.3f},{'xy'[kind[i]]},{'' if i % 9 else 5}" for i in range(ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(["id,a,b,kind,last", *lines]))
    spec = written(tmp_path, tmp_path / "t.csv", unlabelled=True)
    table = spec["data"]["table"]
    assert table["target"] is None
    assert table["drop"] == ["id", "last"]  # which counts the rows, and which has one value
    assert spec["networks"]["decoder"]["layers"][-1] == {"linear": "${data.fields.input.size}"}
    # columns of deviation 1: a network that gives their mean is off by about 1
    assert mse(tmp_path) < 0.5


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_of_rows_needs_no_targets(tmp_path, suffix):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(ROWS, 2)) @ rng.normal(size=(2, 6))).astype(np.float32)
    np.save(tmp_path / "x.npy", x) if suffix == ".npy" else np.savez(tmp_path / "x.npz", x=x)
    written(tmp_path, tmp_path / f"x{suffix}", unlabelled=True)
    assert mse(tmp_path) < 0.5


def test_the_command_takes_the_option_and_says_what_it_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(30, 3)))
    ran = CliRunner().invoke(app, ["new", "--data", "x.npy", "--no-target"])
    assert ran.exit_code == 0, ran.output
    assert "no target: an autoencoder" in ran.output
    assert CliRunner().invoke(app, ["inspect", "x.yaml"]).exit_code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--no-target"], "there is no `--data`"),
        (["--data", "x.npy", "--no-target", "--target", "a"], "`--target` names what to predict"),
        (["--data", "t.txt", "--no-target"], "is a text, whose next token is learned"),
        (["--data", "p.npy", "--no-target"], "has examples of 2 axes"),
        (["--data", "two.npz", "--no-target"], "has no array called x"),
        (["--data", "one.csv", "--no-target"], "has no column to learn from: `a` has one value"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((30, 3)))
    np.save("p.npy", np.zeros((30, 3, 3)))
    np.savez("two.npz", a=np.zeros((30, 3)), b=np.zeros((30, 3)))
    Path("t.txt").write_text("a text of some words. " * 50)
    Path("one.csv").write_text("a\n" + "1\n" * 20)
    ran = CliRunner().invoke(app, ["new", "s.yaml", *words])
    assert isinstance(ran.exception, DlxError)
    assert says in str(ran.exception)


def test_one_array_of_a_file_has_a_way_out(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((30, 3)))
    with pytest.raises(DlxError, match="holds one array") as told:
        starter.write_for(tmp_path / "s.yaml", tmp_path / "x.npy")
    assert "`--no-target`" in told.value.problems[0].hint
