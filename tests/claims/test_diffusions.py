"""Diffusions of points and of digits trained in full: three seeds meet what they claim, and broken twins do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import SHIPPED
from quality import all_of, bounds, label_accuracy_of_normals, noise_mse_of_linear_denoiser, unmet

from dlx.experiment import session
from dlx.objectives import OBJECTIVES, adversarial
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

POINTS, DIGITS = "zoo/diffusion", "zoo/diffusion-digits"


def end_of(name: str, *changes: str) -> dict[str, float]:
    experiment = load(SHIPPED[name], ["track.mlflow=false", "~train.samples", *changes])
    *_, end = fit(session.job_of(prepare(experiment)))
    return end.metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", [POINTS, DIGITS])
def test_three_seeds_meet_the_claims(name, seed):
    assert not unmet(name, end_of(name, f"train.seed={seed}", "train.evaluate_every=4000"))


@pytest.mark.parametrize("name", [POINTS, DIGITS])
def test_an_untrained_network_meets_none(name):
    assert unmet(name, end_of(name, "train.steps=20")) >= all_of(name) - {"test/clusters"}


def test_the_best_linear_denoiser_and_a_normal_distribution_are_worse():
    spec, claimed = load(SHIPPED[POINTS]), bounds(POINTS)
    sets = spec.data.load()
    alpha_bar = OBJECTIVES["diffusion"].model_validate({"steps": 100}).noises().alpha_bar[1:].numpy()
    x = sets.train.x.astype(float)
    linear = noise_mse_of_linear_denoiser(x, alpha_bar)
    assert claimed["test/noise_mse"]["at_most"] < linear < claimed["test/noise_mse"]["at_most"] + 0.002
    test, rng = torch.from_numpy(sets.test.x), np.random.default_rng(0)
    made = [rng.multivariate_normal(x.mean(0), np.cov(x.T), len(test)).astype(np.float32) for _ in range(20)]
    draws = torch.Generator().manual_seed(0)
    away = np.mean([float(adversarial.sliced_wasserstein(test, torch.from_numpy(one), draws)) for one in made])
    assert claimed["test/sliced_wasserstein"]["at_most"] < away < claimed["test/sliced_wasserstein"]["at_most"] + 0.02


def test_the_best_linear_denoiser_of_digits_and_a_normal_distribution_a_class_are_no_better():
    spec, claimed = load(SHIPPED[DIGITS]), bounds(DIGITS)
    objective, sets = spec.objective, spec.data.load()
    x = 2 * sets.train.x.reshape(len(sets.train), -1).astype(float) - 1
    linear = noise_mse_of_linear_denoiser(x, objective.noises().alpha_bar[1:].numpy())
    assert claimed["test/noise_mse"]["at_most"] == pytest.approx(linear, abs=0.001)
    assert claimed["test/label_accuracy"]["at_least"] >= label_accuracy_of_normals(sets) - 0.005


@pytest.mark.slow
@pytest.mark.parametrize("name", [POINTS, DIGITS])
def test_a_network_that_is_told_one_time_always_meets_none_but_the_coverage_of_digits(name, monkeypatch):
    kind = OBJECTIVES["diffusion"]
    plain = kind.noise_in
    monkeypatch.setattr(
        kind, "noise_in", lambda self, call, x, time, label: plain(self, call, x, torch.ones_like(time), label)
    )
    found = unmet(name, end_of(name, "train.steps=1000", "train.evaluate_every=1000"))
    assert found == all_of(name) - {"test/coverage"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [POINTS, DIGITS])
def test_noise_that_is_added_in_place_of_taken_away_meets_none(name, monkeypatch):
    kind = OBJECTIVES["diffusion"]
    plain = kind.noise_in

    def turned(self, call, x, time, label):
        made = plain(self, call, x, time, label)
        return made if torch.is_grad_enabled() else -made  # the training learns the noise as it is

    monkeypatch.setattr(kind, "noise_in", turned)
    found = unmet(name, end_of(name, "train.steps=1000", "train.evaluate_every=1000"))
    assert found == all_of(name)
