"""Sheets of autoencoders: reconstructions, lines between latents, and maps of two latent variables."""

import numpy as np
import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file

from dlx.data.batch import Batch
from dlx.experiment import runner
from dlx.objectives.autoencoder import Autoencoder
from dlx.objectives.base import Ports
from dlx.objectives.latent import COLUMNS, STEPS
from dlx.objectives.vae import Vae
from dlx.shapes import Shape

W = torch.arange(12.0).reshape(2, 6) / 10
CLASSES = torch.arange(20) % 3


def batch():
    x = torch.rand(20, 6, generator=torch.Generator().manual_seed(1))
    return Batch({"input": x, "target": CLASSES})


def call(name, x):
    """A code of the first two values, and W as the decoder."""
    return x[:, :2] if name == "encoder" else x @ W


def rng():
    return torch.Generator().manual_seed(0)


def test_reconstructions_stand_below_what_they_are_of_and_below_the_noise():
    x = batch()["input"]
    plain = Autoencoder().of_networks(["encoder", "decoder"])
    sheet = plain.pictures(call, batch(), 20, rng())["reconstructions"]
    torch.testing.assert_close(sheet, torch.stack([x, x[:, :2] @ W])[:, :COLUMNS])
    noisy = Autoencoder.model_validate({"noise": {"masking": 0.5}}).of_networks(["encoder", "decoder"])
    sheet = noisy.pictures(call, batch(), 20, rng())["reconstructions"]
    assert sheet.shape == (3, COLUMNS, 6)
    seen = noisy.noise.applied(x, rng())[:COLUMNS]
    torch.testing.assert_close(sheet[1], seen)
    torch.testing.assert_close(sheet[2], seen[:, :2] @ W)


def test_a_line_goes_from_one_example_to_the_next_and_a_map_has_their_classes():
    found = Autoencoder().of_networks(["encoder", "decoder"]).pictures(call, batch(), 20, rng())
    line, code = found["interpolations"], batch()["input"][:, :2]
    assert line.shape == (COLUMNS // 2, STEPS, 6)
    torch.testing.assert_close(line[1, 0], code[2] @ W)
    torch.testing.assert_close(line[1, -1], code[3] @ W)
    torch.testing.assert_close(line[1, 1] - line[1, 0], (code[3] - code[2]) @ W / (STEPS - 1))
    torch.testing.assert_close(found["latents"].values, code)
    assert torch.equal(found["latents"].classes, CLASSES)


def test_one_network_shows_no_lines_and_a_longer_code_no_map():
    one = Autoencoder().of_networks(["network"])
    assert list(one.pictures(lambda _, x: x / 2, batch(), 20, rng())) == ["reconstructions"]
    longer = Autoencoder().of_networks(["encoder", "decoder"])
    found = longer.pictures(
        lambda name, x: x[:, :3] if name == "encoder" else x @ torch.ones(3, 6), batch(), 20, rng()
    )
    assert list(found) == ["reconstructions", "interpolations"]


def test_a_vae_of_classes_shows_samples_of_those_of_the_examples():
    ports = {
        "encoder": Ports({"input": Shape((6,))}, {"z": Shape((4,))}),
        "decoder": Ports({"z": Shape((2,)), "label": Shape((), "int")}, {"x": Shape((6,))}),
    }
    one = Vae.model_validate({"likelihood": "gaussian"}).informed({}, ports)

    def told(name, x, label=None):
        return x[:, :4] if name == "encoder" else x @ W + 100 * label[:, None]

    found = one.pictures(told, batch(), 20, rng())
    assert list(found) == ["samples", "reconstructions", "interpolations", "latents"]
    np.testing.assert_array_equal((found["samples"][:, 0] / 100).round(), CLASSES)
    assert ((found["interpolations"] / 100).round()[1] == CLASSES[2]).all()


SPEC = """
name: p
data: {digits: {valid: 60, test: 0}}
networks:
  encoder: {layers: [flatten, {linear: 4}]}
  decoder: {inputs: {z: [2]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}
objective: vae
train: {steps: 6, batch_size: 50, device: cpu, samples: {every: 3, n: 12}}
track: {mlflow: false}
"""


def test_sheets_are_written_and_the_training_stays_the_same_to_the_bit(tmp_path):
    shown = runner.run(experiment_of(SPEC), tmp_path / "a").results[0].run.dir
    names = ("samples", "reconstructions", "interpolations", "latents")
    there = {path.name for path in (shown / "artifacts" / "samples").iterdir()}
    assert there == {f"step-{step:06}-{name}.png" for step in (3, 6) for name in names}
    without = runner.run(experiment_of(SPEC.replace(", samples: {every: 3, n: 12}", "")), tmp_path / "b").results[0]
    a, b = (load_file(one / "checkpoints" / "final.safetensors") for one in (shown, without.run.dir))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert set(a) == set(b)


@pytest.mark.parametrize("objective", ["vae", "{autoencoder: {noise: {gaussian: 0.2}}}"])
def test_a_map_of_two_latent_variables_has_a_point_for_each_example(tmp_path, objective):
    spec = SPEC.replace("objective: vae", f"objective: {objective}")
    spec = spec if objective == "vae" else spec.replace("linear: 4", "linear: 2")
    run = runner.run(experiment_of(spec), tmp_path).results[0].run.dir
    assert (run / "artifacts" / "samples" / "step-000006-latents.png").read_bytes().startswith(b"\x89PNG")
