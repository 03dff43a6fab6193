"""`dlx sample --given`: what is missing in examples is drawn given the rest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import experiment_of
from typer.testing import CliRunner

import dlx
from dlx.cli import app
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.trained.sampling.draws import draw

NONE = np.nan
SPEC = """
    name: pair
    data: {arrays: {path: PATH}}
    network: {layers: [{masked_linear: {out_features: 3, gives: variables}}]}
    objective: autoregressive
    train: {steps: 300, batch_size: 50, optimizer: {adam: 0.05}}
    track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> RunFolder:
    """A network of three bits, of which the second is mostly the first, and the third a coin."""
    folder, rng = tmp_path_factory.mktemp("pair"), np.random.default_rng(0)
    first = rng.integers(0, 2, 400)
    x = np.stack([first, np.where(rng.random(400) < 0.95, first, 1 - first), rng.integers(0, 2, 400)], 1)
    np.savez(folder / "bits.npz", x=x.astype(np.float32), y=x[:, 0])
    (done,) = runner.run(experiment_of(SPEC.replace("PATH", str(folder / "bits.npz"))), folder).results
    return done.run


def by_weights(run: RunFolder, known) -> float:
    """The probability that the first bit is 1 given the others, over all ways, from the weights alone."""
    from safetensors.numpy import load_file

    held = load_file(run.dir / "checkpoints" / "final.safetensors")
    (w,) = (one for name, one in held.items() if name.endswith("weight"))
    (b,) = (one for name, one in held.items() if name.endswith("bias"))
    w = np.tril(w, -1)

    def p(x):
        one = 1 / (1 + np.exp(-(w @ x + b)))
        return np.prod(np.where(np.array(x) == 1, one, 1 - one))

    there = [[0, 1] if np.isnan(value) else [value] for value in known]
    each = {way: p(np.array(way, float)) for way in itertools.product(*there)}
    return sum(one for way, one in each.items() if way[0] == 1) / sum(each.values())


def test_a_bit_is_drawn_by_its_probability_given_one_that_comes_after_it(pair):
    known = np.array([[NONE, 1, NONE]])
    values = draw(pair, 600, known=known).values
    expected = by_weights(pair, known[0])
    assert expected > 0.85
    assert values[:, 0].mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 600))
    assert (values[:, 1] == 1).all()
    assert draw(pair, 600, known=np.array([[NONE, 0, NONE]])).values[:, 0].mean() < 0.3


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz", "titles.csv"])
def test_the_same_examples_in_each_form_of_file(pair, tmp_path, suffix):
    known, path = np.array([[NONE, 1, 0], [0, NONE, NONE]], np.float32), tmp_path / f"known{suffix}"
    if path.suffix == ".csv":
        path.write_text("a,b,c\n" * suffix.startswith("titles") + ",1,0\n0,NaN,\n")
    elif path.suffix == ".npy":
        np.save(path, known)
    else:
        np.savez(path, x=known)
    found = draw(pair, 3, known=path, seed=4)
    assert np.array_equal(found.values, draw(pair, 3, known=known, seed=4).values)
    assert found.seeds == (4, 5, 6, 4, 5, 6)
    assert [one["example"] for one in found.as_json()["samples"]] == [0, 0, 0, 1, 1, 1]
    assert (found.values[:3, 1:] == [1, 0]).all()
    assert (found.values[3:, 0] == 0).all()
    assert np.array_equal(draw(pair, 1, known=path, seed=5).values, found.values[[1, 4]])


def test_the_command_prints_a_line_for_each_and_python_answers_the_same(pair, tmp_path):
    (tmp_path / "known.csv").write_text(",1,0\n")
    ran = CliRunner().invoke(app, ["sample", str(pair.dir), "--given", str(tmp_path / "known.csv"), "--n", "2"])
    assert ran.exit_code == 0, ran.output
    made = dlx.sample(pair.dir, 2, known=tmp_path / "known.csv").values
    assert ran.stdout == "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in made)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",1\n", r"has the shape \(1, 2\), and an example of the run has \(3,\)"),
        (",1,2\n", "example 1 of what is given has the value 2, and autoregressive has values from 0 to 1"),
        ("0,1,1\n", "nothing is missing"),
        (",1,0\n1,0\n", "known.csv:2 has 2 cells, and line 1 has 3"),
        (",1,x\n", "known.csv:1 has 'x', which is no number"),
    ],
)
def test_what_cannot_be_filled_in_is_told(pair, tmp_path, text, says):
    (tmp_path / "known.csv").write_text(text)
    with pytest.raises(DlxError, match=says):
        draw(pair, known=tmp_path / "known.csv")


def test_other_files_and_other_options_beside_it_are_refused(pair, tmp_path):
    with pytest.raises(DlxError, match=r"known\.txt ends in \.txt"):
        draw(pair, known=tmp_path / "known.txt")
    with pytest.raises(DlxError, match="--given and --interpolate are two things"):
        draw(pair, known=np.array([[NONE, 1, 0]]), interpolate="1, 2")


def test_an_objective_that_fills_in_nothing_refuses_it(tmp_path):
    text = """
    name: flow
    data: {moons: {train: 40, valid: 20}}
    network: {layers: [{affine_coupling: {hidden: [4]}}]}
    objective: flow
    train: {steps: 2, batch_size: 20, optimizer: {adam: 0.01}}
    track: {mlflow: false}
    """
    (done,) = runner.run(experiment_of(text), tmp_path).results
    with pytest.raises(DlxError, match="flow fills in no missing values"):
        draw(done.run, known=np.array([[NONE, 1.0]]))
