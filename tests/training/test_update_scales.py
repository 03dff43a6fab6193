"""`train.log_gradients`: norms of gradients and updates by layer, against torch by hand, and to the same bits."""

import json

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from dlx.experiment import runner
from dlx.spec import load

SPEC = """
dlx: 1
name: sizes
data: {{digits: {{valid: 0.2, test: 0.2}}}}
network: {{layers: [flatten, {{linear: 5, name: first}}, tanh, {{linear: 10, name: last}}]}}
train:
  {{steps: {steps}, batch_size: all, shuffle: false, device: cpu, log_every: {every}, optimizer: {{sgd: 0.1}}{more}}}
track: {{mlflow: false}}
"""
GAN = """
dlx: 1
name: gan
data: {digits: {valid: 0.2, test: 0.2}}
networks:
  encoder: {layers: [flatten, {linear: 3, name: latent}]}
  decoder: {inputs: {code: [3]}, layers: [{linear: 64, name: pixels}, {reshape: [1, 8, 8]}]}
objective: autoencoder
train: {steps: 4, device: cpu, log_every: 2, log_gradients: true}
track: {mlflow: false}
"""


def trained(folder, steps=1, every=1, more=", log_gradients: true"):
    folder.mkdir(exist_ok=True)
    (folder / "a.yaml").write_text(SPEC.format(steps=steps, every=every, more=more))
    return runner.run(load(folder / "a.yaml"), folder / "runs").results[0].run


def points(run):
    lines = (run.dir / "metrics.jsonl").read_text().splitlines()
    return {one["step"]: one["metrics"] for one in map(json.loads, lines) if one["record"] == "step"}


def weights(run):
    return load_file(run.dir / "checkpoints" / "final.safetensors")


def norm(*tensors):
    return float(torch.cat([one.reshape(-1) for one in tensors]).norm())


def test_the_sizes_of_a_step_are_those_of_torch_by_hand(tmp_path):
    """A step of gradient descent on the whole training set: the update is 0.1 of the gradient."""
    first = weights(trained(tmp_path / "a", steps=1))
    second = trained(tmp_path / "b", steps=2)
    train = load(second.dir / "spec.yaml").data.load().train
    own = {name: one.clone().requires_grad_() for name, one in first.items()}
    x, y = torch.as_tensor(train.x[:]).flatten(1), torch.as_tensor(train.y)
    hidden = F.linear(x, own["first.weight"], own["first.bias"]).tanh()
    F.cross_entropy(F.linear(hidden, own["last.weight"], own["last.bias"]), y).backward()
    found = points(second)[2]
    for layer in ("first", "last"):
        gradient = norm(own[f"{layer}.weight"].grad, own[f"{layer}.bias"].grad)
        before = norm(first[f"{layer}.weight"], first[f"{layer}.bias"])
        assert found[f"gradient/{layer}"] == pytest.approx(gradient, rel=1e-4)
        assert found[f"update/{layer}"] == pytest.approx(0.1 * gradient / before, rel=1e-3)
    assert found["gradient/first"] != pytest.approx(points(second)[1]["gradient/first"], rel=1e-3)


def test_the_weights_are_those_of_a_training_that_records_nothing(tmp_path):
    """Replayed from the first steps on, and three points of the curve in between."""
    plain, sized = (
        trained(tmp_path / name, 40, 10, f", trace: true{more}")
        for name, more in (("a", ""), ("b", ", log_gradients: true"))
    )
    for name, one in weights(plain).items():
        assert torch.equal(one, weights(sized)[name])
    assert sorted(points(sized)) == [10, 20, 30, 40]
    assert not [name for name in points(plain)[10] if name.startswith(("gradient/", "update/"))]


def test_replayed_and_plain_steps_have_the_same_sizes(tmp_path):
    plain, replayed = (
        points(trained(tmp_path / way, 40, 40, f", trace: {way}, log_gradients: true"))[40]
        for way in ("false", "true")
    )
    assert plain == replayed


def test_each_network_of_several_has_its_layers(tmp_path):
    (tmp_path / "a.yaml").write_text(GAN)
    run = runner.run(load(tmp_path / "a.yaml"), tmp_path / "runs").results[0].run
    sizes = {name: value for name, value in points(run)[4].items() if name.startswith(("gradient/", "update/"))}
    assert sorted(sizes) == [
        f"{kind}/{layer}" for kind in ("gradient", "update") for layer in ("decoder/pixels", "encoder/latent")
    ]
    assert all(value > 0 for value in sizes.values())


def test_a_layer_that_is_frozen_has_none_and_one_of_zeros_no_relative_size(tmp_path):
    (tmp_path / "a.yaml").write_text(
        SPEC.format(steps=1, every=1, more=", log_gradients: true")
        + "init: {by_name: {match: {last: zeros}, default: default}}\nfreeze: [first]\n"
    )
    found = points(runner.run(load(tmp_path / "a.yaml"), tmp_path / "runs").results[0].run)[1]
    assert [name for name in found if name.startswith(("gradient/", "update/"))] == ["gradient/last"]


def test_seeds_that_record_sizes_are_trained_one_after_the_other(tmp_path):
    (tmp_path / "a.yaml").write_text(SPEC.format(steps=3, every=1, more=", seeds: 2, log_gradients: true"))
    runs = [one.run for one in runner.run(load(tmp_path / "a.yaml"), tmp_path / "runs").results]
    assert [run.lock().get("packed", False) for run in runs] == [False, False]
    assert all("gradient/first" in points(run)[3] for run in runs)
