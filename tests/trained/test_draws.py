"""`dlx sample` of what an objective makes, and its sheets at stages of a training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers import experiment_of
from typer.testing import CliRunner

import dlx
from dlx.cli import app
from dlx.errors import DlxError, SpecError
from dlx.experiment import runner
from dlx.experiment.recorder import RunRecorder
from dlx.experiment.session import Session, new_run, train_run
from dlx.runs.folder import RunFolder
from dlx.trained.sampling.draws import draw
from dlx.training.prepared import prepare

RING = """
    name: ring
    data: {ring: {train: 80, valid: 40, test: 40, std: 0.1}}
    networks:
      generator: {inputs: {noise: [3]}, layers: [{linear: 8}, batch_norm, relu, {dropout: 0.2}, {linear: 2}]}
      discriminator: {inputs: {point: [2]}, layers: [{linear: 8}, {leaky_relu: 0.2}, {linear: 1}]}
    objective: {gan: {}}
    train: {steps: 25, batch_size: 20, evaluate_every: 6, optimizer: {adam: 0.01}MORE}
    track: {mlflow: false}
"""
DIGITS = """
    name: drawn
    data: {digits: {standardize: none}}
    networks:
      generator:
        inputs: {noise: [4], label: {shape: [], dtype: int}}
        layers:
          - {embedding: {num_embeddings: 10, embedding_dim: 4}, from: label, name: which}
          - {concat: {}, from: [noise, which]}
          - {linear: 64}
          - sigmoid
          - reshape: [1, 8, 8]
      discriminator: {inputs: {image: [1, 8, 8]}, layers: [flatten, {linear: 1}]}
    objective: gan
    train: {steps: 2, batch_size: 20, optimizer: {adam: 0.01}, samples: {every: 1, n: 10}}
    track: {mlflow: false}
"""


def trained(text: str, where, more: str = "") -> RunFolder:
    (done,) = runner.run(experiment_of(text.replace("MORE", more)), where).results
    return done.run


@pytest.fixture(scope="module")
def ring(tmp_path_factory) -> RunFolder:
    return trained(
        RING, tmp_path_factory.mktemp("ring"), ", average: {generator: {ema: 0.9}}, samples: {every: 10, n: 5}"
    )


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> RunFolder:
    return trained(DIGITS, tmp_path_factory.mktemp("digits"))


def sheets(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder.dir / "artifacts" / "samples").iterdir())}


def weights(folder: RunFolder) -> bytes:
    return (folder.dir / "checkpoints" / "final.safetensors").read_bytes()


# --- stages of a training -------------------------------------------------------------------------------------------


def test_sheets_are_drawn_at_the_stages_and_at_the_end(ring):
    found = sheets(ring)
    assert list(found) == [f"step-0000{step}-samples.png" for step in (10, 20, 25)]
    assert len(set(found.values())) == 3


@pytest.mark.parametrize("seeds", [1, 2])
def test_they_change_no_bit_of_the_training(tmp_path, seeds):
    (plain, drawing) = (
        runner.run(experiment_of(RING.replace("MORE", f", seeds: {seeds}{more}")), tmp_path).results
        for more in ("", ", samples: {every: 7, n: 5}")
    )
    assert [weights(one.run) for one in plain] == [weights(one.run) for one in drawing]
    assert [one.metrics for one in plain] == [one.metrics for one in drawing]
    assert all(len(sheets(one.run)) == 4 for one in drawing)


def test_a_run_that_goes_on_draws_the_same_sheets(tmp_path):
    prepared = prepare(experiment_of(RING.replace("MORE", ", samples: {every: 7, n: 5}, save_every: 5")))
    folders = [new_run(prepared, tmp_path) for _ in range(2)]
    train_run(RunRecorder(folders[0]), prepared, Session())
    train_run(RunRecorder(folders[1]), prepared, Session(until=16))
    for path in (folders[1].dir / "artifacts" / "samples").iterdir():
        path.unlink()  # as a kill before they were written leaves it
    runner.resume(folders[1])
    assert sheets(folders[1]) == dict(list(sheets(folders[0]).items())[2:])
    assert weights(folders[1]) == weights(folders[0])


def test_fields_of_texts_are_refused(tmp_path):
    with pytest.raises(SpecError, match="`top_k` is of texts, and gan makes none"):
        trained(RING, tmp_path, ", samples: {every: 5, top_k: 3}")


# --- samples of a trained run ---------------------------------------------------------------------------------------


def by_hand(run: RunFolder, latents: torch.Tensor) -> np.ndarray:
    from safetensors.torch import load_file

    held = load_file(run.dir / "checkpoints" / "final.safetensors")
    w = {name.removeprefix("generator."): value for name, value in held.items()}
    x = latents @ w["linear_1.weight"].T + w["linear_1.bias"]
    x = (x - w["batch_norm_1.running_mean"]) / (w["batch_norm_1.running_var"] + 1e-5).sqrt()
    x = (x * w["batch_norm_1.weight"] + w["batch_norm_1.bias"]).relu()
    return (x @ w["linear_2.weight"].T + w["linear_2.bias"]).numpy()


def latent(seed: int) -> torch.Tensor:
    return torch.randn(1, 3, generator=torch.Generator().manual_seed(seed))


def test_a_sample_is_what_the_kept_weights_make_of_its_own_seed(ring):
    found = draw(ring, 3, seed=4)
    assert found.seeds == (4, 5, 6)
    expected = by_hand(ring, torch.cat([latent(seed) for seed in (4, 5, 6)]))
    assert np.allclose(found.values, expected, atol=1e-5)
    assert np.array_equal(draw(ring, 1, seed=5).values, found.values[1:2])


def test_arithmetic_is_that_of_the_latents(ring):
    found = draw(ring, arithmetic="3 - (5, 6) + 8", seed=10)
    assert found.names == ("3", "(5, 6)", "8", "3 - (5, 6) + 8")
    parts = [latent(13), (latent(15) + latent(16)) / 2, latent(18)]
    expected = by_hand(ring, torch.cat([*parts, parts[0] - parts[1] + parts[2]]))
    assert np.allclose(found.values, expected, atol=1e-5)
    assert np.allclose(draw(ring, arithmetic="-3").values[1], by_hand(ring, -latent(3)), atol=1e-5)


def test_a_path_goes_straight_from_one_latent_to_the_next(ring):
    found = draw(ring, 5, interpolate="1, 2, 4")
    places = [latent(1), (latent(1) + latent(2)) / 2, latent(2), (latent(2) + latent(4)) / 2, latent(4)]
    assert np.allclose(found.values, by_hand(ring, torch.cat(places)), atol=1e-5)
    assert found.names == ("0", "0.5", "1", "1.5", "2")


def test_samples_are_of_the_class_that_is_asked_for(digits):
    three, by_number = draw(digits, 4, of_class="3"), draw(digits, 4, of_class=3)
    assert three.values.shape == (4, 1, 8, 8)
    assert np.array_equal(three.values, by_number.values)
    assert not np.array_equal(three.values, draw(digits, 4, of_class=4).values)
    one_of_each = draw(digits, 10).values
    assert np.allclose(one_of_each[3], draw(digits, 1, seed=3, of_class=3).values[0], atol=1e-6)


def test_the_sheet_and_the_file_of_numbers_hold_the_samples(digits, tmp_path):
    found = draw(digits, 9)
    found.write(tmp_path / "some.npz")
    assert np.array_equal(np.load(tmp_path / "some.npz")["values"], found.values)
    found.write(tmp_path / "some.png")
    assert (tmp_path / "some.png").read_bytes()[:4] == b"\x89PNG"
    with (
        pytest.raises(DlxError, match="a sample has the shape 1x8x8") if False else pytest.raises(DlxError) as caught
    ):
        draw(digits, 2, output=tmp_path / "some.gif")
    assert "some.gif ends in .gif" in str(caught.value)


def test_the_document_has_seeds_and_values(ring):
    document = json.loads(json.dumps(draw(ring, 2, seed=1).as_json()))
    assert document["shape"] == [2]
    assert [one["seed"] for one in document["samples"]] == [1, 2]
    assert np.allclose(document["samples"][0]["values"], by_hand(ring, latent(1))[0], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n": 0}, "--n is 0"),
        ({"arithmetic": "3 +"}, "--arithmetic '3 \\+' is none from character 4 on"),
        ({"arithmetic": ""}, "--arithmetic '' is none from character 1 on"),
        ({"arithmetic": "3 4"}, "--arithmetic '3 4' is none from character 3 on"),
        ({"interpolate": "3"}, "--interpolate takes two samples or more"),
        ({"interpolate": "3, 4", "n": 1}, "--interpolate goes from one sample to another, and --n is 1"),
        ({"interpolate": "3, 4", "arithmetic": "3"}, "are two things"),
        ({"arithmetic": "class 3 - 2"}, "gan tells no latents of examples"),
        ({"arithmetic": "class 8 - 2"}, "has 8 classes, and none is 8"),
        ({"of_class": "1"}, "take no class"),
    ],
)
def test_what_cannot_be_made_is_refused(ring, options, says):
    with pytest.raises(DlxError, match=says):
        draw(ring, **options)


@pytest.mark.parametrize(("words", "option"), [(["--prompt", "a"], "--prompt"), (["--top-k", "3"], "--top-k")])
def test_options_of_texts_are_refused_by_command_and_in_python(ring, words, option):
    ran = CliRunner().invoke(app, ["sample", str(ring.dir), *words])
    assert ran.exit_code != 0
    message = f"makes samples, and {option} is of others"
    assert message in str(ran.exception)
    with pytest.raises(DlxError, match=message):
        dlx.sample(ring.dir, **{words[0][2:].replace("-", "_"): words[1] if option == "--prompt" else 3})


def test_an_array_as_the_beginning_of_a_wave_is_refused_in_python(ring):
    with pytest.raises(DlxError, match="makes samples, and --prompt is of others"):
        dlx.sample(ring.dir, prompt=np.zeros(8))
