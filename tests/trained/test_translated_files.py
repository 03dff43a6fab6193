"""`dlx sample --given` of a run of `cycle`: examples of one side become such of the other."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers import experiment_of
from PIL import Image
from typer.testing import CliRunner

import dlx
from dlx.cli import app
from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.trained.sampling.draws import draw, in_pairs
from dlx.training.checkpoints.checkpoint import restore_all

SPEC = """
    name: sides
    data: {arrays: {path: PATH, inputs: {day: d, night: n}, target: null, test: 4, standardize: channel}}
    networks:
      generator_ab: {inputs: {picture: [3, 4, 4]}, layers: [{conv: {out_channels: 3, kernel_size: 1}}]}
      generator_ba: {inputs: {picture: [3, 4, 4]}, layers: [{conv: {out_channels: 3, kernel_size: 1}}]}
      discriminator_a: {inputs: {picture: [3, 4, 4]}, layers: [flatten, {linear: 1}]}
      discriminator_b: {inputs: {picture: [3, 4, 4]}, layers: [flatten, {linear: 1}]}
    objective: {cycle: {a: day, b: night}}
    train: {steps: 3, batch_size: 8, optimizer: {adam: 0.01}}
    track: {mlflow: false}
"""
PICTURES = np.random.default_rng(1).integers(0, 256, (3, 3, 4, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def sides(tmp_path_factory) -> RunFolder:
    folder, rng = tmp_path_factory.mktemp("sides"), np.random.default_rng(0)
    day = rng.uniform(0, 1, (20, 3, 4, 4)).astype(np.float32)
    np.savez(folder / "both.npz", d=day, n=(0.2 * rng.uniform(0, 1, (20, 3, 4, 4))).astype(np.float32))
    (done,) = runner.run(experiment_of(SPEC.replace("PATH", str(folder / "both.npz"))), folder).results
    return done.run


def by_hand(run: RunFolder, network: str, x: np.ndarray) -> np.ndarray:
    """What a generator makes of pictures that were standardised as the training part of their side was."""
    held = np.load(run.dir.parent.parent / "both.npz")["d" if network == "generator_ab" else "n"]
    from dlx.spec import load

    rows = load(run.file("spec.yaml")).data.rows(np.zeros(20))[0]
    mean, std = held[rows].mean((0, 2, 3)), held[rows].std((0, 2, 3))
    seen = (x - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        return restore_all(run.dir)[network][0](torch.from_numpy(seen.astype(np.float32))).numpy()


@pytest.mark.parametrize(("to", "network"), [("night", "generator_ab"), ("day", "generator_ba")])
def test_pictures_become_what_the_generator_of_their_side_makes_of_them(sides, to, network):
    x = PICTURES / np.float32(255)
    found = draw(sides, known=x, to=to)
    assert np.allclose(found.values, by_hand(sides, network, x), atol=1e-4)
    assert not np.allclose(found.values, by_hand(sides, "generator_ba" if to == "night" else "generator_ab", x))


def test_the_second_side_is_the_one_by_default_in_each_form_of_file(sides, tmp_path):
    expected = draw(sides, known=PICTURES / np.float32(255), to="night").values
    np.save(tmp_path / "some.npy", PICTURES)
    rows = (PICTURES / np.float32(255)).reshape(3, -1)
    (tmp_path / "some.csv").write_text("\n".join(",".join(map(repr, map(float, row))) for row in rows))
    (tmp_path / "some").mkdir()
    for i, one in enumerate(PICTURES):
        Image.fromarray(np.moveaxis(one, 0, -1)).save(tmp_path / "some" / f"{i}.png")
    for name in ("some.npy", "some.csv", "some"):
        assert np.allclose(draw(sides, known=tmp_path / name).values, expected, atol=1e-5), name
    one = dlx.sample(sides.dir, known=tmp_path / "some" / "1.png", runs=sides.dir.parent)
    assert np.allclose(one.values, expected[1:2], atol=1e-5)
    assert one.names == ("1.png",)


def test_the_command_writes_them_beside_what_they_were(sides, tmp_path):
    np.save(tmp_path / "some.npy", PICTURES)
    words = ["sample", str(sides.dir), "--given", str(tmp_path / "some.npy"), "--to", "day"]
    ran = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "made.png"), "--json"])
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert document["to"] == "day"
    assert document["shape"] == [3, 4, 4]
    assert [sorted(one) for one in document["samples"]] == [["values"]] * 3
    assert (tmp_path / "made.png").read_bytes()[:4] == b"\x89PNG"


def test_a_sheet_has_each_beside_what_became_of_it():
    given = np.arange(1, 6, dtype=np.float32).reshape(5, 1, 1, 1)
    sheet = in_pairs(given, -given)[..., 0, 0, 0]
    assert sheet.tolist() == [[1, -1, 2, -2], [3, -3, 4, -4], [5, -5, 0, 0]]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "cycle makes no samples of noise: it turns examples of `day` into such of `night`"),
        ({"known": PICTURES, "to": "nigth"}, "into such of `nigth`.*"),
        ({"known": PICTURES, "n": 3}, "--n is a number of samples"),
        ({"known": PICTURES[:, :2]}, "inputs of shape"),
        ({"known": np.full((2, 3, 4, 4), np.nan)}, "what is given holds 96 values that are not finite"),
    ],
)
def test_what_cannot_be_translated_is_told(sides, options, says):
    with pytest.raises(DlxError, match=says):
        draw(sides, **options)


def test_a_side_that_is_misspelt_has_a_way_out(sides):
    with pytest.raises(DlxError) as told:
        draw(sides, known=PICTURES, to="nigth")
    assert "Did you mean `night`?" in told.value.problems[0].hint


def test_other_objectives_have_no_sides(tmp_path):
    text = """
        data: {ring: {train: 20, test: 10}}
        networks:
          generator: {inputs: {noise: [2]}, layers: [linear: 2]}
          discriminator: {inputs: {point: [2]}, layers: [linear: 1]}
        objective: gan
        train: {steps: 1, batch_size: 10}
        track: {mlflow: false}
    """
    (done,) = runner.run(experiment_of(text), tmp_path).results
    with pytest.raises(DlxError, match="gan turns no examples into others, and --to asks for some of `b`"):
        draw(done.run, 2, to="b")
