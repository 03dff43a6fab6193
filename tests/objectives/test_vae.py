"""Variational autoencoders by hand: densities, divergence, and the bound where log P(x) is known exactly."""

import math

import numpy as np
import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file
from scipy.stats import multivariate_normal
from torch import nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives.base import Ports
from dlx.objectives.vae import Vae, divergence
from dlx.shapes import Shape
from dlx.spec import load


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def of(**options):
    return Vae.model_validate(options)


def test_divergence_and_densities_are_those_of_torch():
    mean, s = torch.randn(5, 3, generator=rng(1)), torch.randn(5, 3, generator=rng(2))
    exact = kl_divergence(Normal(mean, (s / 2).exp()), Normal(0, 1)).sum(1)
    torch.testing.assert_close(divergence(mean, s), exact)
    x, output = torch.rand(5, 2, 3, generator=rng(3)), torch.randn(5, 2, 3, generator=rng(4))
    bits = (x > 0.5).float()
    torch.testing.assert_close(
        of().log_probability(output, bits), Bernoulli(logits=output).log_prob(bits).sum((1, 2))
    )
    narrow = of(likelihood="gaussian", variance=0.04)
    torch.testing.assert_close(narrow.log_probability(output, x), Normal(output, 0.2).log_prob(x).sum((1, 2)))
    both, spread = of(likelihood="gaussian"), torch.randn(5, 1, 3, generator=rng(5))
    found = both.log_probability({"mean": output, "log_variance": spread}, x)
    torch.testing.assert_close(found, Normal(output, (spread / 2).exp()).log_prob(x).sum((1, 2)))


# --- the linear case: W = [[1], [2]] and variance 1, so that x is normal with covariance [[2, 2], [2, 5]] -----------

W = torch.tensor([[1.0], [2.0]])
EXACT = {(0.0, 0.0): -2.7337568010, (1.0, 2.0): -3.1504234677}


def linear(name, x):
    """The exact posterior, of mean W^T x / (W^T W + 1) and variance 1 / 6, and the decoder W z."""
    if name == "decoder":
        return x @ W.T
    return {"mean": x @ W / 6, "log_variance": torch.full((len(x), 1), -math.log(6))}


def test_of_the_linear_case_the_bound_of_the_exact_posterior_is_the_exact_likelihood():
    x = torch.tensor(list(EXACT))
    batch = Batch({"input": x})
    one = of(likelihood="gaussian", samples=20_000, importance=1)
    mean, log_variance = one.posterior(linear, batch)
    assert float(mean[1]) == pytest.approx(5 / 6)
    # p(x, z) / q(z | x) is P(x) whatever z is drawn
    found = one.log_likelihood(linear, batch, mean, log_variance, rng())
    np.testing.assert_allclose(found, list(EXACT.values()), atol=1e-5)
    measured = one.evaluate(linear, batch, rng())
    assert float(measured["elbo"]) == pytest.approx(sum(EXACT.values()) / 2, abs=0.02)
    assert float(measured["log_likelihood"]) == pytest.approx(sum(EXACT.values()) / 2, abs=1e-5)
    assert list(measured) == list(one.modes())


def test_another_posterior_is_below_by_its_divergence_from_the_exact_one():
    x = torch.tensor(list(EXACT))

    def call(name, given):
        if name == "decoder":
            return linear(name, given)
        return {"mean": given @ W / 6 + 0.5, "log_variance": torch.zeros(len(given), 1)}

    one = of(likelihood="gaussian", samples=20_000, importance=2000)
    measured = one.evaluate(call, Batch({"input": x}), rng())
    exact = sum(EXACT.values()) / 2
    gap = float(kl_divergence(Normal(0.5, 1.0), Normal(0.0, 6**-0.5)))
    assert float(measured["elbo"]) == pytest.approx(exact - gap, abs=0.05)
    assert float(measured["log_likelihood"]) == pytest.approx(exact, abs=0.05)


def test_the_loss_weighs_the_divergence_and_gradients_reach_both_networks():
    torch.manual_seed(0)
    networks = {"encoder": nn.Linear(4, 6), "decoder": nn.Linear(3, 4)}
    batch = Batch({"input": torch.rand(8, 4, generator=rng(1))})
    found = of(beta=0.25).terms("train", lambda name, x: networks[name](x), batch, rng(2))
    mean, s = networks["encoder"](batch["input"]).chunk(2, 1)
    torch.testing.assert_close(found["kl"], 0.25 * divergence(mean, s).mean())
    z = mean + (s / 2).exp() * torch.randn(8, 3, generator=rng(2))
    logits = networks["decoder"](z)
    by_hand = F.binary_cross_entropy_with_logits(logits, batch["input"], reduction="sum") / 8
    torch.testing.assert_close(found["reconstruction"], by_hand)
    found["reconstruction"].backward()  # by the draws alone
    assert all(bool(p.grad.abs().sum() > 0) for one in networks.values() for p in one.parameters())


def test_samples_are_means_of_latents_and_may_be_asked_for_a_class():
    one = of().informed({}, {"decoder": Ports({"z": Shape((3,)), "label": Shape((), "int")}, {"x": Shape((4,))})})
    z = one.latents(5, rng())
    assert z.shape == (5, 3)
    weight, classes = torch.randn(3, 4, generator=rng(1)), torch.arange(5)

    def call(name, z, label):
        return z @ weight + label[:, None]

    assert one.condition == "target"
    torch.testing.assert_close(one.sample(call, 5, rng(), classes), (z @ weight + classes[:, None]).sigmoid())


# --- whole trainings ------------------------------------------------------------------------------------------------

SPEC = """
dlx: 1
name: linear
data: {arrays: {path: x.npz, valid: 0, test: 0}}
networks:
  encoder:
    layers: [{linear: 1, name: middle}, {parameter: {shape: [1], mean: 0}, name: spread, from: input}]
    outputs: {mean: middle, log_variance: spread}
  decoder: {inputs: {z: [1]}, layers: [linear: 2]}
objective: {vae: {likelihood: gaussian, samples: 10, importance: 20}}
train: {steps: 300, batch_size: all, optimizer: {adam: 5e-2}, schedule: cosine, device: cpu}
track: {mlflow: false}
"""


def test_trained_on_the_linear_case_the_bound_nears_the_exact_likelihood_from_below(tmp_path):
    rows = np.random.default_rng(0).multivariate_normal([1, -1], [[2, 2], [2, 5]], 500).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=rows, y=np.zeros(500, np.int64))
    (tmp_path / "a.yaml").write_text(SPEC)
    found = runner.run(load(tmp_path / "a.yaml"), tmp_path / "runs").results[0]
    weights = load_file(found.run.dir / "checkpoints" / "final.safetensors")
    w, mean = (weights[f"decoder.linear_1.{name}"].numpy().astype(float) for name in ("weight", "bias"))
    exact = multivariate_normal(mean, w @ w.T + np.eye(2)).logpdf(rows).mean()
    assert exact - 0.02 < found.metrics["train/elbo"] < exact + 0.02  # it is measured by draws
    assert found.metrics["train/log_likelihood"] == pytest.approx(exact, abs=0.01)
    truth = multivariate_normal([1, -1], [[2, 2], [2, 5]]).logpdf(rows).mean()
    assert exact == pytest.approx(truth, abs=0.02)
    untrained = runner.run(load(tmp_path / "a.yaml", ["train.optimizer={sgd: {lr: 0}}"]), tmp_path / "runs").results[
        0
    ]
    assert untrained.metrics["train/elbo"] < exact - 0.3


DIGITS = """
data: {digits: {valid: 0.1, test: 0}}
networks:
  encoder: {layers: [flatten, {linear: 8}]}
  decoder: {inputs: {z: [4]}, layers: [{linear: 64}, {reshape: [1, 8, 8]}]}
objective: vae
train: {steps: 3, device: cpu}
track: {mlflow: false}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("linear: 8", "linear: 7", "vae takes mean and log variance of z from `encoder`, which has one output, (7,)"),
        ("z: [4]", "z: [5]", "vae gives `decoder` (4,) as `z`, and that input is (5,)"),
        (", {reshape: [1, 8, 8]}", "", "the network `decoder` ends in (64,), and vae takes the shape of the field"),
        ("[flatten, {linear: 8}]",
         "[flatten, {linear: 4, name: mean}, {linear: 3, name: s}], outputs: {mean: mean, log_variance: s}",
         "`mean` of `encoder` is (4,), and `log_variance` is (3,)"),
        ("{linear: 64}, {reshape: [1, 8, 8]}]",
         "{linear: 64}, {reshape: [1, 8, 8], name: m}, {linear: 8, name: s}], outputs: {mean: m, log_variance: s}",
         "vae takes one output of `decoder`, or `mean` and `log_variance` for"),
        ("objective: vae", "objective: {vae: {variance: 0}}", "`variance` must be above 0"),
        ("objective: vae", "objective: {vae: {variance: 2}}",
         "`variance` is for `likelihood: gaussian`, and this is bernoulli"),
        ("decoder:", "generator:", "vae wants `decoder`"),
        ("z: [4]", "z: [4], kind: [1]", "vae gives `decoder` one input, and behind it a class as `label`"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence(old, new, message):
    assert old in DIGITS
    with pytest.raises(SpecError) as raised:
        trace_all(experiment_of(DIGITS.replace(old, new, 1)))
    assert any(message in problem.message for problem in raised.value.problems), str(raised.value)


def test_logits_of_values_beyond_0_and_1_are_refused_before_training(tmp_path):
    beyond = DIGITS.replace("{valid: 0.1, test: 0}", "{valid: 0.1, test: 0, preprocess: [standardize]}")
    with pytest.raises(SpecError) as refused:
        runner.run(experiment_of(beyond), tmp_path)
    assert "`likelihood: bernoulli` is of values from 0 to 1, and the field `input` goes from -" in str(refused.value)
    assert "`likelihood: gaussian` takes any values" in str(refused.value)
    gaussian = beyond.replace("objective: vae", "objective: {vae: {likelihood: gaussian}}")
    assert math.isfinite(runner.run(experiment_of(gaussian), tmp_path).results[0].metrics["train/elbo"])


def test_two_variances_are_a_mistake():
    both = DIGITS.replace(
        "{reshape: [1, 8, 8]}]", "{reshape: [1, 8, 8], name: m}], outputs: {mean: m, log_variance: m}"
    )
    gaussian = both.replace("objective: vae", "objective: {vae: {likelihood: gaussian}}")
    trace_all(experiment_of(gaussian))
    with pytest.raises(SpecError, match="`decoder` gives `log_variance`, and `variance: 2` is another variance"):
        trace_all(experiment_of(gaussian.replace("gaussian}", "gaussian, variance: 2}")))
