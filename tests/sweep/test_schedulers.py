"""Schedulers: where trials are compared, and who goes on."""

from math import nan

import pytest

from dlx.spec.varied import Choices, Numbers
from dlx.strategies import SCHEDULERS
from dlx.sweep.schedulers import Exploit
from dlx.sweep.space import Space
from dlx.sweep.trial import Trial


def made(kind, **options):
    return SCHEDULERS[kind](**options)


def trials_at(values, step=10, generation=0, first=0):
    """Trials that have come to one rung, with these metrics."""
    return [
        Trial(first + i, {}, generation, 1, 1, "running", rungs={step: {0: {} if v is None else {"valid/error": v}}})
        for i, v in enumerate(values)
    ]


def survivors(scheduler, trials, history=(), rung=10, rising=False):
    return scheduler.survivors(trials, rung, "valid/error", rising, list(history))


@pytest.mark.parametrize("kind", sorted(SCHEDULERS))
@pytest.mark.parametrize(("total", "per_epoch"), [(1000, 10), (10, 10), (7, 10), (1, 1), (25, 10)])
def test_rungs_rise_to_the_end_of_training(kind, total, per_epoch):
    for generation in range(4):
        rungs = made(kind).rungs(total, per_epoch, generation)
        assert rungs[-1] == total
        assert rungs == sorted(set(rungs))
        assert rungs[0] >= 1


def test_without_a_scheduler_all_run_to_the_end():
    assert made("none").rungs(1000, 10) == [1000]
    assert survivors(made("none"), trials_at([3, 1, 2])) == {0, 1, 2}


@pytest.mark.parametrize(
    ("options", "rungs"),
    [
        ({}, [10, 40, 160, 640, 1000]),
        ({"reduction_factor": 3}, [10, 30, 90, 270, 810, 1000]),
        ({"min_epochs": 5}, [50, 200, 800, 1000]),
        ({"min_epochs": 0.25}, [3, 10, 40, 160, 640, 1000]),
        ({"min_epochs": 100}, [1000]),
    ],
)
def test_rungs_of_halving_are_so_many_times_as_far_apart(options, rungs):
    assert made("successive_halving", **options).rungs(1000, 10) == rungs


def test_one_in_four_goes_on_and_of_equal_ones_the_first():
    values = [0.5, 0.2, 0.9, 0.2, 0.2, 0.8, 0.7, 0.6]
    assert survivors(made("successive_halving"), trials_at(values)) == {1, 3}
    assert survivors(made("successive_halving", reduction_factor=2), trials_at(values)) == {0, 1, 3, 4}
    assert survivors(made("successive_halving"), trials_at(values), rising=True) == {2, 5}
    assert survivors(made("successive_halving"), trials_at([0.3])) == {0}


def test_a_trial_without_a_finite_metric_is_the_worst():
    assert survivors(made("successive_halving"), trials_at([nan, None, 0.9, float("inf"), 0.8])) == {2, 4}


def test_asha_compares_with_all_that_came_to_the_rung_so_far():
    before = trials_at([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    better = trials_at([0.05, 0.06, 0.07, 0.9], generation=1, first=8)
    assert survivors(made("asha"), better, before) == {8, 9, 10}  # the best 3 of 12
    worse = trials_at([0.9, 0.91, 0.92, 0.93], generation=1, first=8)
    assert survivors(made("asha"), worse, before) == set()
    assert survivors(made("successive_halving"), worse, before) == {8}


def test_those_that_ended_before_a_rung_are_no_bar_there():
    early = [Trial(n, {}, 0, 1, 1, "stopped", rungs={10: {0: {"valid/error": 0.0}}}) for n in range(9)]
    late = [
        Trial(9 + n, {}, 1, 1, 1, rungs={10: {0: {"valid/error": 1}}, 40: {0: {"valid/error": n}}}) for n in range(4)
    ]
    assert survivors(made("asha"), late, early, rung=40) == {9}


def test_trials_whose_batches_differ_are_compared_each_at_its_own_step():
    trials = [
        Trial(0, {}, 0, 1, 1, rungs={10: {0: {"valid/error": 0.3}}}),
        Trial(1, {}, 0, 1, 1, rungs={20: {0: {"valid/error": 0.1}}}),
        Trial(2, {}, 0, 1, 1, rungs={40: {0: {"valid/error": 0.2}}}),
    ]
    assert survivors(made("successive_halving"), trials) == {1}


def test_a_rung_that_no_trial_came_to_is_our_own_mistake():
    with pytest.raises(ValueError, match="no trial has metrics at step 99"):
        survivors(made("asha"), trials_at([1, 2]), rung=99)


def test_hyperband_begins_later_from_generation_to_generation_and_anew():
    rungs = [made("hyperband").rungs(270, 10, generation) for generation in range(5)]
    assert rungs == [[10, 30, 90, 270], [30, 90, 270], [90, 270], [270], [10, 30, 90, 270]]


def test_the_median_ends_what_is_worse_and_not_before_there_are_some():
    scheduler = made("median")
    assert scheduler.rungs(50, 10) == [10, 20, 30, 40, 50]
    assert made("median", min_epochs=2, every=1.5).rungs(50, 10) == [20, 35, 50]
    assert survivors(scheduler, trials_at([1, 2, 3, 4, 5, 6, 7])) == set(range(7))
    assert survivors(scheduler, trials_at([1, 2, 3, 4, 5, 6, 7, 8])) == {0, 1, 2, 3}
    history = trials_at([1.0] * 8)
    assert survivors(scheduler, trials_at([0.9, 1.0, 1.1], generation=1, first=8), history) == {8, 9}


# --- population-based training --------------------------------------------------------------------------------------

RATE = Numbers("train.optimizer.adam.lr", 1e-4, 1e-1, log=True)
BETA = Choices("train.optimizer.adam.beta", (0.8, 0.9, 0.95))
WIDTH = Choices("vars.width", (8, 16))
SPACE = Space((WIDTH, RATE, BETA))


def population(values, widths=None):
    trials = trials_at(values)
    for i, trial in enumerate(trials):
        width = widths[i] if widths else 8
        trial.point = {WIDTH.key: width, RATE.key: 10 ** (-3 + i / 10), BETA.key: 0.9}
    return trials


def exploits(scheduler, trials, seed=0):
    return scheduler.exploits(trials, 10, "valid/error", False, SPACE, seed)


def test_the_worst_quarter_takes_over_from_the_best_quarter():
    trials = population([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    told = exploits(made("population"), trials)
    assert survivors(made("population"), trials) == set(range(8))
    assert set(told) == {6, 7}
    assert {e.source for e in told.values()} <= {0, 1}
    assert told == exploits(made("population"), trials)
    for exploit in told.values():
        assert SPACE.holds(exploit.point)
        assert exploit.point[WIDTH.key] == 8


def test_numbers_move_by_the_factor_and_choices_to_a_neighbour():
    scheduler = made("population", anew=0)
    for seed in range(10):
        for exploit in exploits(scheduler, population([0.1, 0.2, 0.7, 0.8]), seed).values():
            assert exploit.source == 0
            assert exploit.point[RATE.key] in (pytest.approx(1.2e-3), pytest.approx(1e-3 / 1.2, rel=1e-5))
            assert exploit.point[BETA.key] in (0.8, 0.95)


def test_weights_are_taken_over_only_by_the_same_network():
    trials = population([0.1, 0.2, 0.3, 0.8], widths=[16, 8, 8, 8])
    assert exploits(made("population"), trials) == {}
    told = exploits(made("population", share=0.5), trials)
    assert {number: e.source for number, e in told.items()} == {2: 1, 3: 1}


def test_nothing_is_taken_over_from_one_that_is_no_better():
    assert exploits(made("population"), population([0.5, 0.5, 0.5, 0.5])) == {}


def test_an_exploit_is_data():
    assert Exploit(3, {"a": 1}) == Exploit(3, {"a": 1})
