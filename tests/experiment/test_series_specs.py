"""Shipped specs of series and sequences: what they reach, what theory says, and what their twins reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import SHIPPED
from quality import bounds

from dlx.data.generated.processes import SeasonalSeries
from dlx.data.generated.sequences import Waves
from dlx.experiment import baselines, runner
from dlx.spec import load
from dlx.spec.baseline_list import with_baselines
from dlx.training.checkpoints import checkpoint

RNN = "network.layers=[{rnn: {hidden_size: 32}}, {linear: 5}, transpose]"
WINDOW = (
    "network.layers=[transpose, {pad: {padding: [4, 0]}}, {conv: {out_channels: 32, kernel_size: 5}}, relu, "
    "{conv: {out_channels: 5, kernel_size: 1}}]"
)


def trained(name: str, folder, *changes: str):
    (result,) = runner.run(load(SHIPPED[name], ["track.mlflow=false", *changes]), folder).results
    return result


def test_the_coefficients_of_ar2_are_within_the_error_of_theory(tmp_path):
    """The asymptotic deviation of both is sqrt((1 - c2^2) / n) (Box et al., section 7.2.6): 0.0079 for n = 7,000."""
    result = trained("zoo/ar2", tmp_path)
    _, tensors = checkpoint.read(result.run.dir / "checkpoints", "final")
    found = next(t for name, t in tensors.items() if name.endswith("weight")).numpy()[0, ::-1]
    error = np.sqrt((1 - 0.75**2) / 7000)
    assert found == pytest.approx([1.5, -0.75], abs=3 * error)
    assert 0.95 <= result.metrics["test/rmse"] <= 1.05


def test_an_untrained_ar2_is_far_off(tmp_path):
    assert trained("zoo/ar2", tmp_path, "train.epochs=null", "+train.steps=1").metrics["test/rmse"] > 1.5


def test_yule_walker_finds_what_the_network_finds(tmp_path):
    spec = load(SHIPPED["zoo/ar2"], ["track.mlflow=false"])
    found = baselines.run(with_baselines(spec, ["auto_regression=2", "naive"]), tmp_path).groups
    solved, naive = ({m.name: m.mean for m in group.metrics} for group in found)
    assert solved["test/rmse"] == pytest.approx(trained("zoo/ar2", tmp_path).metrics["test/rmse"], rel=0.005)
    assert naive["test/rmse"] == pytest.approx(np.sqrt(2 * 8.615 / 7), rel=0.05)


def least_squares_bound() -> float:
    """The deviation of forecasts of a week by level, trend and season, fitted to four weeks with noise of 1."""

    def rows(t):
        return np.stack([np.ones(len(t)), t, np.sin(2 * np.pi * t / 7), np.cos(2 * np.pi * t / 7)], 1)

    past, ahead = rows(np.arange(28)), rows(np.arange(28, 35))
    return float(np.sqrt(1 + np.einsum("ij,jk,ik->i", ahead, np.linalg.inv(past.T @ past), ahead).mean()))


def test_the_forecast_is_near_the_noise_and_beats_its_baselines(tmp_path):
    result = trained("zoo/forecast", tmp_path)
    spec = load(SHIPPED["zoo/forecast"], ["track.mlflow=false"])
    found = baselines.run(with_baselines(spec, ["naive", "seasonal_naive=7"]), tmp_path).groups
    naive, seasonal = ({m.name: m.mean for m in group.metrics}["test/rmse"] for group in found)

    assert least_squares_bound() == pytest.approx(1.133, abs=1e-3)
    assert 0.9 < result.metrics["test/rmse"] < 1.25
    assert seasonal == pytest.approx(np.sqrt(2 + 0.14**2 + 2 * 16 * 0.09), rel=0.1)
    assert result.metrics["test/rmse"] < seasonal < naive


def test_with_shuffled_targets_it_is_worse_than_a_season_before(tmp_path, monkeypatch):
    load_as_it_is = SeasonalSeries.load

    def shuffled(self):
        sets = load_as_it_is(self)
        order = np.random.default_rng(0).permutation(len(sets.train))
        return replace(sets, train=replace(sets.train, y=sets.train.y[order]))

    monkeypatch.setattr(SeasonalSeries, "load", shuffled)
    assert trained("zoo/forecast", tmp_path).metrics["test/rmse"] > 2.21


def test_without_what_is_known_ahead_events_are_missed(tmp_path):
    """Events add 16 * 0.09 to the mean squared error where they are not known."""
    layers = "network.layers=[{flatten: null, from: input}, {linear: 7}]"
    blind = trained("zoo/forecast", tmp_path, layers).metrics["test/rmse"]
    assert blind > np.sqrt(1 + 16 * 0.09) * 0.95


@pytest.mark.slow
def test_a_state_reaches_where_a_window_does_not(tmp_path):
    """Without memory: a blank in 7 of 8 steps, and one of 4 symbols in the last."""
    assert trained("zoo/window-or-state", tmp_path).metrics["test/accuracy"] > 0.995
    chance = (6 + 1 + 1 / 4) / 8
    assert trained("zoo/window-or-state", tmp_path, WINDOW).metrics["test/accuracy"] == pytest.approx(
        chance, abs=0.01
    )


@pytest.mark.slow
def test_an_lstm_keeps_what_an_rnn_forgets(tmp_path):
    """Without memory: a blank in 17 of 18 steps, and one of 4 symbols in the last."""
    assert trained("zoo/delayed-copy", tmp_path).metrics["test/accuracy"] > 0.995
    chance = (16 + 1 + 1 / 4) / 18
    assert trained("zoo/delayed-copy", tmp_path, RNN).metrics["test/accuracy"] == pytest.approx(chance, abs=0.01)


@pytest.mark.slow
def test_a_stack_of_dilated_convolutions_beats_autoregression_and_its_twins_do_not(tmp_path, monkeypatch):
    """1.789 nats a step by 32 values of autoregression. The twins: a field of 3, and the targets of other waves."""
    claimed = bounds("zoo/wavenet-waves")["test/loss"]
    assert claimed["at_least"] < trained("zoo/wavenet-waves", tmp_path).metrics["test/loss"] < claimed["at_most"]
    short = trained("zoo/wavenet-waves", tmp_path, "vars.blocks=2", "vars.depth=1", "~expect")
    assert short.metrics["test/loss"] > claimed["at_most"]

    load_as_it_is = Waves.load

    def shuffled(self):
        sets = load_as_it_is(self)
        order = np.random.default_rng(0).permutation(len(sets.train))
        return replace(sets, train=replace(sets.train, y=sets.train.y[order]))

    monkeypatch.setattr(Waves, "load", shuffled)
    assert trained("zoo/wavenet-waves", tmp_path, "train.steps=60").metrics["test/loss"] > claimed["at_most"]
