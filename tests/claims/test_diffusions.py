"""The diffusion of points trained in full: three seeds meet what it claims, and broken twins do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import SHIPPED
from quality import all_of, bounds, noise_mse_of_linear_denoiser, unmet

from dlx.experiment import session
from dlx.objectives import OBJECTIVES, adversarial
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.prepared import prepare

NAME = "zoo/diffusion"


def end_of(*changes: str) -> dict[str, float]:
    experiment = load(SHIPPED[NAME], ["track.mlflow=false", "~train.samples", *changes])
    *_, end = fit(session.job_of(prepare(experiment)))
    return end.metrics


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_seeds_meet_the_claims(seed):
    assert not unmet(NAME, end_of(f"train.seed={seed}", "train.evaluate_every=4000"))


def test_an_untrained_network_meets_none():
    assert unmet(NAME, end_of("train.steps=20")) >= all_of(NAME) - {"test/clusters"}


def test_the_best_linear_denoiser_and_a_normal_distribution_are_worse():
    spec, claimed = load(SHIPPED[NAME]), bounds(NAME)
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


@pytest.mark.slow
def test_a_network_that_is_told_one_time_always_meets_none(monkeypatch):
    kind = OBJECTIVES["diffusion"]
    plain = kind.noise_in
    monkeypatch.setattr(
        kind, "noise_in", lambda self, call, x, time, label: plain(self, call, x, torch.ones_like(time), label)
    )
    assert unmet(NAME, end_of("train.steps=1000", "train.evaluate_every=1000")) == all_of(NAME)


@pytest.mark.slow
def test_noise_that_is_added_in_place_of_taken_away_meets_none(monkeypatch):
    kind = OBJECTIVES["diffusion"]
    plain = kind.noise_in

    def turned(self, call, x, time, label):
        made = plain(self, call, x, time, label)
        return made if torch.is_grad_enabled() else -made  # the training learns the noise as it is

    monkeypatch.setattr(kind, "noise_in", turned)
    assert unmet(NAME, end_of("train.steps=1000", "train.evaluate_every=1000")) == all_of(NAME)
