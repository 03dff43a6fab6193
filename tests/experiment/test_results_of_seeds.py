"""What several trainings come to together, where a figure of one is not finite."""

from math import inf, isnan, nan

import pytest

from dlx.experiment.results import Result, Results
from dlx.runs.folder import RunFolder
from dlx.sweeps.leaderboard import rank
from dlx.sweeps.trial import Trial
from dlx.utils.intervals import mean_of


def results(tmp_path, *values):
    each = (
        Result(RunFolder(tmp_path / str(i)), i, 1, 1.0, {"valid/loss": v, "valid/mae": i})
        for i, v in enumerate(values)
    )
    return Results(tuple(each), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [(inf, 1.0), (nan, 1.0), (inf, -inf)])
def test_a_mean_with_a_figure_that_is_not_finite_is_not_finite_and_has_no_interval(tmp_path, values):
    found = results(tmp_path, *values)

    assert str(found.metrics["valid/loss"]) == str(sum(values))
    assert list(found.intervals) == ["valid/mae"]


def test_a_mean_is_rounded_once():
    assert mean_of([1e16, 1.0, -1e16]) == 1 / 3
    assert isnan(mean_of([inf, -inf]))


def test_a_trial_whose_seeds_diverge_both_ways_comes_last():
    def trial(number, *values):
        rungs = {9: {seed: {"valid/loss": v} for seed, v in enumerate(values)}}
        return Trial(number, {}, 0, 1, 1, "finished", rungs=rungs)

    assert [place.trial.number for place in rank([trial(0, inf, -inf), trial(1, 0.5, 0.6)], "valid/loss", False)] == [
        1,
        0,
    ]
