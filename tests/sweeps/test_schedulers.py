"""Schedulers: where trials are compared, and who goes on."""

from itertools import pairwise
from math import nan
from random import Random

import pytest

from dlx.spec.sections.sweep_values import Choices, NumberRange
from dlx.spec.strategies import SCHEDULERS
from dlx.sweeps.schedulers import Exploit
from dlx.sweeps.space import Space
from dlx.sweeps.trial import Trial


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
        ({"reduction_factor": 3, "min_epochs": 0.1}, [1, 3, 9, 27, 81, 243, 729, 1000]),
        ({"reduction_factor": 3, "min_epochs": 0.7}, [7, 21, 63, 189, 567, 1000]),
    ],
)
def test_rungs_of_halving_are_so_many_times_as_far_apart(options, rungs):
    assert made("successive_halving", **options).rungs(1000, 10) == rungs


def test_rungs_at_even_parts_of_an_epoch_are_at_even_steps():
    assert made("median", min_epochs=0.2, every=0.2).rungs(300, 30) == list(range(6, 301, 6))
    assert made("population", every=0.1).rungs(10, 10) == list(range(1, 11))
    assert made("population", every=1 / 3).rungs(90, 30) == list(range(10, 91, 10))
    assert made("median", min_epochs=1e-9, every=1e-9).rungs(10, 5) == list(range(1, 11))


@pytest.mark.parametrize(
    ("count", "factor", "left"), [(5, 4, [1]), (10, 3, [3, 1]), (81, 3, [27, 9, 3, 1]), (3, 4, [1])]
)
def test_one_in_so_many_goes_on_rounded_down_and_one_at_least(count, factor, left):
    """n_i = floor(n / factor ** i) of Li et al. 2018, algorithm 1."""
    for kind in ("successive_halving", "asha", "hyperband"):
        values, found = [float(i) for i in range(count)], []
        while len(values) > 1:
            values = values[: len(survivors(made(kind, reduction_factor=factor), trials_at(values)))]
            found.append(len(values))
        assert found == left, kind


def test_one_in_four_goes_on_and_of_equal_ones_the_first():
    values = [0.5, 0.2, 0.9, 0.2, 0.2, 0.8, 0.7, 0.6]
    assert survivors(made("successive_halving"), trials_at(values)) == {1, 3}
    assert survivors(made("successive_halving", reduction_factor=2), trials_at(values)) == {0, 1, 3, 4}
    assert survivors(made("successive_halving"), trials_at(values), rising=True) == {2, 5}
    assert survivors(made("successive_halving"), trials_at([0.3])) == {0}


def test_a_trial_without_a_finite_metric_is_the_worst():
    assert survivors(made("successive_halving"), trials_at([nan, None, 0.9, float("inf"), 0.8])) == {4}
    halving = made("successive_halving", reduction_factor=2)
    assert survivors(halving, trials_at([nan, None, 0.9, float("inf"), 0.8])) == {2, 4}


def test_asha_compares_with_all_that_came_to_the_rung_so_far():
    before = trials_at([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    better = trials_at([0.05, 0.06, 0.07, 0.9], generation=1, first=8)
    assert survivors(made("asha"), better, before) == {8, 9, 10}  # the best 3 of 12
    assert survivors(made("asha"), better[:3], before) == {8, 9}  # floor(11 / 4)
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
    assert survivors(scheduler, trials_at([1, 2, 3, 4, 4, 6, 7, 8])) == {0, 1, 2, 3, 4}  # the others of 4 have 4
    history = trials_at([1.0] * 8)
    assert survivors(scheduler, trials_at([0.9, 1.0, 1.1], generation=1, first=8), history) == {8, 9}


def curves(*each, first=0, generation=0):
    """Trials with a metric at the rungs 10, 20, ..."""
    return [
        Trial(
            first + i,
            {},
            generation,
            1,
            1,
            rungs={10 * k: {0: {"valid/error": v}} for k, v in enumerate(values, 1)},
        )
        for i, values in enumerate(each)
    ]


def test_the_median_is_that_of_running_averages_and_the_best_so_far_is_held_against_it():
    """Golovin et al. 2017, section 3.2.2."""
    others = curves(*[[0.5, 0.5]] * 8)
    early = curves([0.1, 0.6], first=8, generation=1)
    assert survivors(made("median"), early, others, rung=20) == {8}
    late = curves([0.7, 0.6], [0.7, 0.5], first=8, generation=1)
    assert survivors(made("median"), late, others, rung=20) == {9}
    falling = curves(*[[0.9, 0.1]] * 8)  # their running average is 0.5
    assert survivors(made("median"), curves([0.8, 0.5], first=8, generation=1), falling, rung=20) == {8}
    assert survivors(made("median"), curves([0.8, 0.51], first=8, generation=1), falling, rung=20) == set()
    assert survivors(made("median"), curves([0.2, 0.3], first=8, generation=1), others, rung=20, rising=True) == set()


def test_hyperbands_brackets_are_those_of_its_table():
    """Li et al. 2018, table 1: R = 81 and factor 3, s from 4 down to 0; (n, r) of each row."""
    table = [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(27, 3), (9, 9), (3, 27), (1, 81)],
        [(9, 9), (3, 27), (1, 81)],
        [(6, 27), (2, 81)],
        [(5, 81)],
    ]
    hyperband = made("hyperband")
    for bracket, rows in enumerate(table):
        assert hyperband.rungs(81, 1, bracket) == [r for _, r in rows]
        for (n, rung), (left, _) in pairwise(rows):
            assert len(survivors(hyperband, trials_at(range(n), rung), rung=rung)) == left


# --- Optuna's pruners, where both have the same rule ----------------------------------------------------------------


def asked_of_optuna(pruner, curve, study, steps):
    """The step before the last at which Optuna prunes a trial with this curve; None where it never does."""
    import optuna

    trial = study.ask()
    for step in steps[:-1]:
        trial.report(curve[step], step)
        if pruner.prune(study, study._storage.get_trial(trial._trial_id)):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return step
    study.tell(trial, curve[steps[-1]])
    return None


def asked_of_ours(scheduler, curve, history, rungs):
    """The same of a scheduler, with generations of one trial."""
    trial = Trial(len(history), {}, len(history), 1, 1)
    for rung in rungs[:-1]:
        trial.rungs[rung] = {0: {"valid/error": curve[rung]}}
        if trial.number not in scheduler.survivors([trial], rung, "valid/error", False, history):
            history.append(trial)
            return rung
    trial.rungs[rungs[-1]] = {0: {"valid/error": curve[rungs[-1]]}}
    history.append(trial)
    return None


@pytest.mark.parametrize(("factor", "start"), [(2, 0), (3, 0), (4, 0), (3, 1), (3, 2)])
def test_asha_one_by_one_prunes_where_optuna_does(factor, start):
    """Optuna's SuccessiveHalvingPruner; brackets of its Hyperband differ in `min_early_stopping_rate` alone."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng, study, history = Random(factor + start), optuna.create_study(), []
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=1, reduction_factor=factor, min_early_stopping_rate=start
    )
    scheduler = made("asha", reduction_factor=factor, min_epochs=factor**start)
    rungs, pruned = scheduler.rungs(81, 1), 0
    for _ in range(60):
        curve = [rng.random() for _ in range(82)]
        theirs = asked_of_optuna(pruner, curve, study, range(1, 82))
        assert asked_of_ours(scheduler, curve, history, rungs) == theirs
        pruned += theirs is not None
    assert 20 < pruned < 60


def test_median_prunes_where_optuna_does_on_level_curves():
    """On others a running average is not the value at a step, of which Optuna takes the median: here they are one."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rng, study, history = Random(0), optuna.create_study(), []
    for _ in range(9):
        level = rng.random()
        history += curves([level] * 5, first=len(history), generation=len(history))
        found = dict.fromkeys(range(10, 51, 10), level)
        study.add_trial(optuna.trial.create_trial(value=level, intermediate_values=found))
    pruner, scheduler = optuna.pruners.MedianPruner(n_startup_trials=8), made("median")
    pruned = set()
    for _ in range(60):
        curve = {step: rng.random() for step in range(10, 51, 10)}
        trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, intermediate_values={10: curve[10]})
        found = {}
        for step, value in curve.items():
            found[step] = {0: {"valid/error": value}}
            trial.intermediate_values[step] = value
            mine = Trial(9, {}, 9, 1, 1, rungs=dict(found))
            ours = 9 not in survivors(scheduler, [mine], history, rung=step)
            assert ours == pruner.prune(study, trial)
            pruned.add(ours)
    assert pruned == {True, False}


# --- population-based training --------------------------------------------------------------------------------------

RATE = NumberRange("train.optimizer.adam.lr", 1e-4, 1e-1, log=True)
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
    found = exploits(made("population"), trials)
    assert survivors(made("population"), trials) == set(range(8))
    assert set(found) == {6, 7}
    assert {e.source for e in found.values()} <= {0, 1}
    assert found == exploits(made("population"), trials)
    for exploit in found.values():
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
    found = exploits(made("population", share=0.5), trials)
    assert {number: e.source for number, e in found.items()} == {2: 1, 3: 1}


def test_nothing_is_taken_over_from_one_that_is_no_better():
    assert exploits(made("population"), population([0.5, 0.5, 0.5, 0.5])) == {}


def test_an_exploit_is_data():
    assert Exploit(3, {"a": 1}) == Exploit(3, {"a": 1})
