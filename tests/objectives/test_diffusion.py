"""Diffusion: the noise of its steps, its bound against a likelihood, and its samplers on exact noise."""

import math

import numpy as np
import pytest
import torch

from dlx.data.base import Field
from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.layers import LAYERS
from dlx.objectives import OBJECTIVES, Ports
from dlx.shapes import Shape
from dlx.spec import load

KIND = OBJECTIVES["diffusion"]
MEAN, STD = torch.tensor([0.5, -1.0]), torch.tensor([0.3, 0.8])


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def objective(shape=(2,), classes=0, **options):
    fields = {"input": Field(Shape(shape)), "target": Field(Shape((), "int"), "target", classes=classes or None)}
    inputs = {"x": Shape(shape), "time": Shape((1,))} | ({"label": Shape((), "int")} if classes else {})
    return KIND.model_validate(options).informed(fields, {"network": Ports(inputs, {"y": Shape(shape)})})


def exact(one, means=MEAN):
    """The noise in x_t of examples from a normal distribution, by its posterior mean; of a class, around its mean."""
    alpha_bar = one.noises().alpha_bar

    def call(name, x, time, label=None):
        share = alpha_bar[time.view(-1).long()].to(x).view(-1, 1)
        mean = means if label is None else means[label]
        return (1 - share).sqrt() * (x - share.sqrt() * mean) / (share * STD**2 + 1 - share)

    return call


def examples(n=4000):
    return MEAN + STD * torch.randn(n, 2, generator=rng(5))


def test_the_linear_steps_are_those_of_the_paper_and_the_cosine_ones_those_of_theirs():
    linear = objective(steps=1000).noises()
    assert linear.beta[[1, 1000]].tolist() == pytest.approx([1e-4, 0.02])
    assert float(linear.alpha_bar[-1]) == pytest.approx(
        4.04e-5, rel=1e-2
    )  # Ho et al., section 4: L_T is about 1e-5 bits
    torch.testing.assert_close(linear.alpha_bar, torch.cumprod(1 - linear.beta, 0))
    cosine = objective(steps=100, betas="cosine").noises()
    half = math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert float(cosine.alpha_bar[50]) == pytest.approx(half)
    assert float(cosine.beta.max()) == pytest.approx(0.999)


def test_the_variance_of_a_step_back_is_that_of_three_normal_variables():
    """x_(t-1) given x_t and x by the formula of Gaussian conditionals, from the joint covariance."""
    noises = objective(steps=10).noises()
    for t in (2, 7):
        before, beta = float(noises.alpha_bar[t - 1]), float(noises.beta[t])
        a, both = 1 - before, math.sqrt(1 - beta) * (1 - before)
        found = a - both**2 / ((1 - beta) * a + beta)
        assert float(noises.posterior()[t]) == pytest.approx(found)


@pytest.mark.parametrize("steps", [100, 1000])
def test_the_bound_lies_below_the_likelihood_and_comes_near_it_with_more_steps(steps):
    one, x = objective(steps=steps), examples()
    normal = torch.distributions.Normal(MEAN, STD)
    likelihood = float(normal.log_prob(x).sum(1).mean())
    found = float(one.evaluate(exact(one), Batch({"input": x}), rng())["elbo"])
    by_hand = {100: 1.4487, 1000: 1.4146}[steps] - 1.4108  # the bound's terms by formula, with the variances of e
    assert found == pytest.approx(likelihood - by_hand, abs=0.1)

    def nothing(name, x, time):
        return torch.zeros_like(x)

    assert float(one.evaluate(nothing, Batch({"input": x}), rng())["elbo"]) < likelihood - 3


def test_a_range_brings_values_to_minus_one_and_one_and_the_bound_is_that_of_the_values():
    one = objective(steps=100, range=[0, 4])
    x = torch.tensor([[0.0, 4.0], [1.0, 2.0]])
    assert one.scaled(x).tolist() == [[-1, 1], [-0.5, 0]]
    torch.testing.assert_close(one.unscaled(one.scaled(x)), x)
    plain = objective(steps=100)

    def call(name, x, time):
        return 0.1 * x

    scaled = one.evaluate(call, Batch({"input": x}), rng())["elbo"]
    alone = plain.evaluate(call, Batch({"input": one.scaled(x)}), rng())["elbo"]
    assert float(scaled) == pytest.approx(float(alone) - 2 * math.log(2), abs=1e-5)


@pytest.mark.parametrize("options", [{"sampler": "ddpm"}, {"sampler": "ddim", "sampling_steps": 100}])
def test_samples_of_exact_noise_follow_the_distribution(options):
    one = objective(steps=200, **options)
    x = one.sample(exact(one), 20_000, rng())
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.03, rtol=0)
    torch.testing.assert_close(x.std(0), STD, atol=0.03, rtol=0)

    def flipped(*call, **named):
        return -exact(one)(*call, **named)

    assert float((one.sample(flipped, 500, rng()).std(0) - STD).abs().max()) > 0.3


def test_ddim_makes_the_same_of_the_same_noise_and_ddpm_has_no_latents():
    one = objective(steps=50, sampler="ddim", sampling_steps=10)
    noise = one.latents(5, rng())
    assert torch.equal(one.generate(exact(one), noise), one.generate(exact(one), noise))
    assert objective(steps=50).latents(5, rng()) is None


def test_guidance_leads_beyond_the_class_away_from_the_mean_of_all():
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])  # the last one is that without a class
    found = []
    for guidance in (0, 2):
        one = objective(steps=100, classes=2, guidance=guidance, sampler="ddim")
        label = torch.ones(2000, dtype=torch.long)
        found.append(float(one.sample(exact(one, means), 2000, rng(), label)[:, 0].mean()))
    assert found[0] == pytest.approx(1, abs=0.05)
    assert found[1] == pytest.approx(1 + 2 * (1 - 0), abs=0.1)
    plain = one.sample(exact(one, means), 2000, rng())
    assert float(plain[:, 0].mean()) == pytest.approx(0, abs=0.05)
    assert one.condition == "target"


def test_a_share_of_examples_is_learned_without_its_class():
    one, seen = objective(steps=10, classes=3, drop=0.25), []

    def call(name, x, time, label):
        seen.append(label)
        return x

    batch = Batch({"input": torch.zeros(4000, 2), "target": torch.arange(4000) % 3})
    one.terms("train", call, batch, rng())
    assert float((seen[0] == 3).float().mean()) == pytest.approx(0.25, abs=0.03)
    rest = seen[0] != 3
    assert torch.equal(seen[0][rest], batch["target"][rest])


def test_the_embedding_of_a_time_is_that_of_the_formula():
    module = LAYERS["timestep_embedding"].model_validate({"embedding_dim": 4}).module(Shape((1,)))
    angles = np.array([3.0, 3 / 100])
    expected = torch.tensor([*np.sin(angles), *np.cos(angles)], dtype=torch.float32)
    torch.testing.assert_close(module(torch.tensor([[3.0]]))[0], expected)


SPEC = """
dlx: 1
name: a
data: {moons: {train: 200, valid: 50, test: 50}}
network:
  inputs: {x: [2], time: [1]}
  layers:
    - {timestep_embedding: {embedding_dim: 8}, from: time, name: when}
    - {concat: , from: [x, when]}
    - linear: 16
    - silu
    - linear: 2
objective: {diffusion: {steps: 20}}
train: {steps: 40, batch_size: 50, device: cpu, optimizer: {adam: 1e-2}}
track: {mlflow: false}
"""


def run(folder, *changes):
    file = folder / "a.yaml"
    file.write_text(SPEC)
    return runner.run(load(file, list(changes)), folder / "runs").results[0].metrics


def test_a_training_learns_the_noise(tmp_path):
    first = run(tmp_path, "train.optimizer.adam.lr=1e-9")
    found = run(tmp_path)
    assert found["test/noise_mse"] < first["test/noise_mse"] - 0.1
    assert found["test/elbo"] > first["test/elbo"]


def test_samples_are_measured_where_that_is_asked_for_and_all_else_stays(tmp_path):
    plain, more = run(tmp_path), run(tmp_path, "+objective.diffusion.clusters=target")
    assert set(more) - set(plain) >= {"test/precision", "test/coverage", "test/sliced_wasserstein", "test/on_cluster"}
    assert {name: more[name] for name in plain if "elbo" in name} == {
        name: value for name, value in plain.items() if "elbo" in name
    }


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("network={inputs: {x: [2]}, layers: [{linear: 2}]}", "tells the network the time by an input `time`"),
        ("network.layers.linear_2.out_features=3", "the network ends in (3,), and diffusion takes the shape of the"),
        ("+objective.diffusion.clusters=kind", "`clusters` names `kind`, and the data has no such class"),
        ("objective={diffusion: {range: [1, 0]}}", "`range` goes from 1 to 0: the first one is smaller"),
        (
            "objective={diffusion: {steps: 20, sampling_steps: 30}}",
            "`sampling_steps: 30` are more than the `steps: 20`",
        ),
        ("objective={diffusion: {guidance: 2}}", "`guidance` is of the class, and the network has no input `label`"),
        ("objective={diffusion: {drop: 0.2}}", "`drop` is of the class, and the network has no input `label`"),
    ],
)
def test_what_does_not_fit_is_told_before_training(tmp_path, change, sentence):
    with pytest.raises(SpecError) as refused:
        run(tmp_path, change)
    assert sentence in str(refused.value)


def test_a_mistake_in_the_objective_says_nothing_of_the_inputs(tmp_path):
    with pytest.raises(SpecError) as refused:
        run(tmp_path, "objective={diffusion: {steps: 0}}")
    assert [one.message for one in refused.value.problems] == ["`steps` must be at least 2, not 0"]
