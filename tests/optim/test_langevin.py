"""Langevin dynamics against the Gaussian that it draws from, and the posterior of a linear regression by formula."""

import numpy as np
import pytest
import torch
from helpers import SHIPPED, experiment_of
from quality import unmet

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.optim import OPTIMIZERS
from dlx.spec import load

SGLD = OPTIMIZERS["sgld"]


def drawn(lr, temperature, curvature, count=20_000, steps=200, decay=0.0):
    """Many weights of the loss k w^2 / 2 each, after some steps from 0."""
    w = torch.zeros(count, requires_grad=True)
    torch.manual_seed(1)
    optimizer = SGLD(lr=lr, temperature=temperature, weight_decay=decay).build([w])
    for _ in range(steps):
        w.grad = curvature * w.detach()
        optimizer.step()
    return w.detach()


@pytest.mark.parametrize(("lr", "temperature", "curvature"), [(0.05, 0.5, 2.0), (0.2, 1.0, 1.0)])
def test_a_quadratic_gives_the_gaussian_of_its_temperature(lr, temperature, curvature):
    """The variance v of w' = (1 - lr k) w + sqrt(2 lr T) e that stays: v = T / (k (1 - lr k / 2))."""
    w = drawn(lr, temperature, curvature)
    assert float(w.mean()) == pytest.approx(0, abs=0.02)
    assert float(w.var()) == pytest.approx(temperature / (curvature * (1 - lr * curvature / 2)), rel=0.04)
    standard = w / w.std()
    assert float((standard**4).mean()) == pytest.approx(3, abs=0.2)  # of a normal distribution


def test_weight_decay_is_the_precision_of_a_prior():
    assert float(drawn(0.05, 1.0, 1.0, decay=3.0).var()) == pytest.approx(1 / (4 * (1 - 0.05 * 4 / 2)), rel=0.04)


def test_without_temperature_it_is_gradient_descent_and_rate_zero_stands_still():
    start = torch.tensor([1.0, 2.0])
    one, other = start.clone().requires_grad_(), start.clone().requires_grad_()
    one.grad = other.grad = torch.tensor([0.5, -1.0])
    SGLD(lr=0.1, temperature=0, weight_decay=0.01).build([one]).step()
    torch.optim.SGD([other], lr=0.1, weight_decay=0.01).step()
    torch.testing.assert_close(one, other)
    SGLD(lr=0, temperature=1.0).build([one]).step()
    torch.testing.assert_close(one, other)


def test_two_groups_draw_different_numbers_and_two_seeds_too():
    def after(seed, count):
        weights = [torch.zeros(3, requires_grad=True) for _ in range(2)]
        torch.manual_seed(seed)
        optimizer = SGLD(lr=0.1, temperature=1.0).build(weights)
        optimizer.add_param_group({"params": [torch.zeros(3, requires_grad=True)]})
        for _ in range(count):
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    weight.grad = torch.zeros(3)
            optimizer.step()
        return [w.detach().tolist() for group in optimizer.param_groups for w in group["params"]]

    once = after(0, 1)
    assert once[0] != once[1] != once[2] != once[0]
    assert once == after(0, 1) != after(1, 1)


def test_means_and_variances_are_those_of_the_posterior_of_a_linear_regression():
    """n examples, noise of variance 1, half the mean square as loss, T = 1/n, prior precision n * decay."""
    rng = np.random.default_rng(0)
    n, true = 50, np.array([1.0, -2.0])
    x = rng.normal(size=(n, 2)) * [1, 0.5]
    y = x @ true + rng.normal(size=n)
    decay = 0.02
    precision = x.T @ x + n * decay * np.eye(2)
    mean, covariance = np.linalg.solve(precision, x.T @ y), np.linalg.inv(precision)

    chains = 4000
    w = torch.zeros(chains, 2, requires_grad=True)
    torch.manual_seed(0)
    optimizer = SGLD(lr=0.02, temperature=1 / n, weight_decay=decay).build([w])
    inputs, targets = torch.tensor(x).float(), torch.tensor(y).float()
    for _ in range(1500):
        w.grad = (w.detach() @ inputs.T - targets) @ inputs / n
        optimizer.step()
    found = w.detach().numpy()
    np.testing.assert_allclose(found.mean(0), mean, atol=4 * np.sqrt(covariance.diagonal().max() / chains))
    np.testing.assert_allclose(np.cov(found.T), covariance, rtol=0.1, atol=2e-3)
    # the broken twin: the temperature of a sum of losses is n times too hot
    assert n * covariance[0, 0] > 10 * np.var(found[:, 0])


def test_a_temperature_is_asked_for():
    with pytest.raises(SpecError) as raised:
        trace_all(
            experiment_of(
                "data: {synthetic: {shape: [2], classes: 2}}\nnetwork: {layers: [{linear: 2}]}\n"
                "train: {steps: 1, optimizer: {sgld: 1e-3}}"
            )
        )
    assert "`temperature` is missing" in str(raised.value)


@pytest.mark.slow
def test_a_draw_meets_its_claim_and_least_squares_and_a_wrong_temperature_do_not(tmp_path):
    def claims_unmet(*changes):
        changed = load(SHIPPED["zoo/sgld"], ["track.mlflow=false", "~expect", *changes])
        return unmet("zoo/sgld", runner.run(changed, tmp_path).results[0].metrics)

    assert not claims_unmet()
    assert not claims_unmet("train.seed=1")
    assert claims_unmet("train.optimizer.sgld.temperature=0")
    assert claims_unmet("train.optimizer.sgld.temperature=1e-4")  # twice as hot
