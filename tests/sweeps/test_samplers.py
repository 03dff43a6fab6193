"""Samplers: stateless, never the same point twice, and drawn to where it is good."""

import json
import os
import subprocess
import sys
from math import inf, nan
from pathlib import Path

import pytest

from dlx.errors import SpecError
from dlx.spec.sections.sweep_values import Choices, NumberRange, fingerprint
from dlx.spec.strategies import SAMPLERS
from dlx.sweeps.samplers.base import SampleRequest
from dlx.sweeps.samplers.by_optuna import decoded, encoded, quiet
from dlx.sweeps.samplers.surrogate import features, gp_mean
from dlx.sweeps.space import Space, name_of
from dlx.sweeps.trial import Trial

RATE = NumberRange("rate", 1e-4, 1.0, log=True)
WIDTH = NumberRange("width", 1, 64, 1)
KIND = Choices("kind", ("sgd", "adam", "lion"))
SIZE = Choices("size", (64, 16, 32))
MOMENTUM = Choices("kind.momentum", (0.0, 0.9))
MIXED = Space((RATE, WIDTH, KIND, SIZE))
SMALL = Space((NumberRange("width", 2, 8, 2), KIND, Choices("bias", (True, False))))
BELOW = Space((KIND, SIZE, MOMENTUM), {MOMENTUM.key: {"kind": frozenset([fingerprint("sgd")])}})
QUICK = {"gp": {"startup": 4}, "tpe": {"startup": 4}, "surrogate": {"initial": 8}}
"""Options with which the results count from early on."""
ALL = sorted(SAMPLERS)
WALK = [pytest.param(kind, marks=pytest.mark.slow if kind == "gp" else ()) for kind in ALL]
LOOKING = sorted(set(ALL) - {"grid", "random", "quasi_random"})


def made(kind):
    return SAMPLERS[kind](**QUICK.get(kind, {}))


def finished(points, loss, generation=0, first=0):
    return [
        Trial(first + i, p, generation, 1, 1, "finished", rungs={9: {0: {"valid/error": loss(p)}}})
        for i, p in enumerate(points)
    ]


def searched(sampler, space, loss, generations, size=8, seed=0):
    """The history of a study."""
    history = []
    for generation in range(generations):
        points = sampler.ask(space, history, size, seed, ["valid/error"], [False])
        history += finished(points, loss, generation, len(history))
    return history


def far(point):
    """A loss that is least at a rate of 0.01, a width of 20, adam and 16."""
    from math import log10

    off = abs(log10(point["rate"]) + 2) + abs(point["width"] - 20) / 20
    return off + (point["kind"] != "adam") + 0.5 * (point["size"] != 16)


def size_of(kind):
    """Points of a generation: few where they take long, and so that the small space has some left."""
    return {"gp": 2, "grid": 4}.get(kind, 8)


@pytest.mark.parametrize("kind", ALL)
def test_the_same_history_and_seed_give_the_same_points(kind):
    space, count = (SMALL if kind == "grid" else MIXED), size_of(kind)
    loss = (lambda p: p["width"] + len(p["kind"])) if kind == "grid" else far
    history = searched(made(kind), space, loss, 3, count)
    again = searched(made(kind), space, loss, 3, count)
    assert [t.point for t in history] == [t.point for t in again]
    assert json.loads(json.dumps([t.point for t in history])) == [t.point for t in history]
    following = made(kind).ask(space, history, count, 0, ["valid/error"], [False])
    assert len(following) == count
    assert following == made(kind).ask(space, list(again), count, 0, ["valid/error"], [False])


def test_another_process_gives_the_same_points():
    code = (
        "from test_samplers import *\n"
        "for kind in sorted(set(ALL) - {'gp', 'grid'}): print(kind, searched(made(kind), MIXED, far, 3)[-1].point)"
    )
    suggested = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert suggested[0] == suggested[1]
    assert suggested[0].count("\n") == len(ALL) - 2


@pytest.mark.parametrize("kind", sorted(set(ALL) - {"grid"}))
def test_another_seed_gives_other_points(kind):
    one, other = (made(kind).ask(MIXED, [], 4, seed, ["valid/error"], [False]) for seed in (0, 1))
    assert one != other


@pytest.mark.parametrize("kind", WALK)
def test_a_discrete_space_is_gone_through_without_a_point_twice_and_then_is_exhausted(kind):
    sampler = made(kind)
    history = searched(sampler, SMALL, lambda p: p["width"] + len(p["kind"]), 4, 7)
    assert len(history) == SMALL.size == 24
    assert {name_of(t.point) for t in history} == {name_of(p) for p in SMALL.grid()}
    assert sampler.ask(SMALL, history, 7, 0, ["valid/error"], [False]) == []


@pytest.mark.parametrize("kind", ALL)
def test_points_that_are_taken_are_not_suggested(kind):
    taken = list(SMALL.grid())[:20]
    points = made(kind).ask(SMALL, [], 8, 0, ["valid/error"], [False], taken)
    assert {name_of(p) for p in points} == {name_of(p) for p in list(SMALL.grid())[20:]}


@pytest.mark.parametrize("kind", WALK)
def test_every_point_is_one_of_the_space_where_keys_hang_on_others(kind):
    history = searched(made(kind), BELOW, lambda p: len(p["kind"]) - p.get("kind.momentum", 0), 3, 4)
    assert len(history) == BELOW.size == 12
    assert all(BELOW.holds(t.point) for t in history)


@pytest.mark.parametrize("kind", LOOKING)
def test_trials_that_failed_or_diverged_or_were_stopped_do_not_end_the_search(kind):
    history = searched(made("random"), MIXED, far, 2)
    for trial, (state, value) in zip(
        history, [("failed", None), ("finished", nan), ("finished", inf), ("stopped", 2.0)], strict=False
    ):
        trial.state = state
        trial.rungs = {} if value is None else {5: {0: {"valid/error": value}}}
    for trial in history[4:8]:
        trial.state = "failed"
    points = made(kind).ask(MIXED, history, 2, 0, ["valid/error"], [False])
    assert len(points) == 2
    assert all(MIXED.holds(p) for p in points)


@pytest.mark.parametrize("kind", LOOKING)
def test_a_history_in_which_all_failed_is_no_obstacle(kind):
    history = searched(made("random"), MIXED, far, 2)
    for trial in history:
        trial.state, trial.rungs = "failed", {}
    assert len(made(kind).ask(MIXED, history, 3, 0, ["valid/error"], [False])) == 3


@pytest.mark.parametrize("kind", sorted(set(LOOKING) - {"gp", "nsga2", "hill_climbing"}))
def test_what_looks_at_results_comes_nearer_than_random(kind):
    mine = [far(t.point) for t in searched(made(kind), MIXED, far, 8)]
    random_losses = [far(t.point) for t in searched(made("random"), MIXED, far, 8)]
    assert sum(sorted(mine)[:8]) < sum(sorted(random_losses)[:8])
    assert sum(mine[32:]) / 32 < sum(random_losses[32:]) / 32 - 0.5


def test_a_gaussian_process_finds_the_bottom_of_a_bowl_in_a_dozen_trials():
    history = searched(made("gp"), Space((WIDTH,)), lambda p: (p["width"] - 40) ** 2, 3, 4)
    assert min(abs(t.point["width"] - 40) for t in history) <= 1
    assert min(abs(t.point["width"] - 40) for t in history[:4]) > 1


@pytest.mark.parametrize("kind", ["tpe", "evolution", "cma_es", "surrogate", "hill_climbing"])
def test_more_is_better_where_the_metric_says_so(kind):
    space, last = Space((WIDTH, RATE)), {}
    for up in (True, False):
        history = []
        for generation in range(4):
            points = made(kind).ask(space, history, 8, 0, ["valid/error"], [up])
            history += finished(points, lambda p: float(p["width"]), generation, len(history))
        last[up] = sum(t.point["width"] for t in history[-8:]) / 8
    assert last[True] > last[False] + 15


def test_the_grid_is_in_order():
    points = made("grid").ask(SMALL, [], 3, 0, ["valid/error"], [False])
    assert [tuple(p.values()) for p in points] == [(2, "sgd", True), (2, "sgd", False), (2, "adam", True)]


def test_a_grid_of_an_interval_has_no_end():
    with pytest.raises(SpecError) as error:
        made("grid").ask(MIXED, [], 8, 0, ["valid/error"], [False])
    assert "`rate` is an interval, and a grid tries every value" in str(error.value)
    assert "range(0.1, 1, 0.1)" in str(error.value)


@pytest.mark.parametrize("sequence", ["sobol", "halton"])
def test_a_quasi_random_sequence_fills_the_space_evenly_also_in_parts(sequence):
    space, count = Space((NumberRange("a", 0.0, 1.0), NumberRange("b", 0.0, 1.0))), 16
    sampler = SAMPLERS["quasi_random"](sequence=sequence)
    history = searched(sampler, space, lambda p: 0.0, count // 4, 4)
    whole = sampler.ask(space, [], count, 0, ["valid/error"], [False])
    assert [t.point for t in history] == whole
    assert sorted(int(p["a"] * 16) for p in whole) == list(range(16))  # base 2: one in each sixteenth
    cells = {"sobol": 16, "halton": 9}[sequence]
    thirds = sorted(int(p["b"] * cells) for p in whole[:cells])  # base 3 for Halton's second axis
    assert thirds == list(range(cells))


def test_hill_climbing_tries_the_neighbours_of_the_best_and_goes_where_it_is_better():
    space = Space((WIDTH, SIZE))
    sampler = made("hill_climbing")
    start = {"width": 40, "size": 32}
    history = finished([start], lambda p: p["width"])
    around = sampler.ask(space, history, 4, 0, ["valid/error"], [False])
    assert sorted(map(name_of, around)) == sorted(map(name_of, space.neighbours(start)))
    history += finished(around, lambda p: p["width"], 1, 1)
    further = sampler.ask(space, history, 1, 0, ["valid/error"], [False])
    assert further[0] in space.neighbours({"width": 39, "size": 32})


def test_hill_climbing_starts_anew_where_all_around_is_worse():
    space, loss = Space((WIDTH,)), lambda p: abs(p["width"] - 20)
    sampler = made("hill_climbing")
    history = finished([{"width": 20}, {"width": 19}, {"width": 21}], loss)
    anew = sampler.ask(space, history, 1, 0, ["valid/error"], [False])
    history += finished(anew, loss, 1, 3)
    request = SampleRequest(space, history, 1, 0, ["valid/error"], [False], ())
    assert sampler.top(request) == anew[0]
    assert anew[0]["width"] not in (19, 20, 21)


def test_children_have_the_genes_of_their_parents_where_nothing_mutates():
    space = Space((WIDTH, KIND, SIZE, RATE))
    sampler = SAMPLERS["evolution"](mutation=0, crossover=1, population=8, tournament=2)
    parents = [
        {"width": 3, "kind": "sgd", "size": 16, "rate": 0.1},
        {"width": 50, "kind": "lion", "size": 64, "rate": 0.01},
    ]
    history = finished(parents, lambda p: p["width"]) * 4
    children = sampler.ask(space, history, 6, 0, ["valid/error"], [False])
    assert len(children) == 6
    assert all(child[key] in (parents[0][key], parents[1][key]) for child in children for key in child)


def test_a_population_forgets_its_old():
    sampler = SAMPLERS["evolution"](mutation=0, crossover=1, population=8, tournament=1)
    space = Space((WIDTH, SIZE))
    old = finished([{"width": 1, "size": 16}] * 8, lambda p: 0.0)
    new = finished([{"width": w, "size": s} for w in (7, 8, 9, 10) for s in (32, 64)], lambda p: 1.0, 1, 8)
    children = sampler.ask(space, [*old, *new[:-1], new[0]], 1, 0, ["valid/error"], [False])
    assert children == [{"width": 10, "size": 64}]  # the one that the newest eight can make and that was not tried


def test_nsga2_goes_to_the_front_of_two_metrics():
    space, sampler = Space(tuple(NumberRange(key, -5.0, 5.0) for key in "wxyz")), SAMPLERS["nsga2"](population=16)
    history = []
    for generation in range(12):
        points = sampler.ask(space, history, 16, 0, ["valid/a", "valid/b"], [False, False])
        for point in points:
            two = {"valid/a": sum(v**2 for v in point.values()), "valid/b": sum((v - 2) ** 2 for v in point.values())}
            history.append(Trial(len(history), point, generation, 1, 1, "finished", rungs={9: {0: two}}))
    sums = [t.value("valid/a") + t.value("valid/b") for t in history]  # least, 8, in the middle of the front
    assert sum(sums[:32]) / 32 > 70
    assert sum(sums[-32:]) / 32 < 45


def test_a_figure_of_the_plan_may_be_one_of_several_metrics():
    sampler = SAMPLERS["nsga2"](population=8)
    history = searched(made("random"), MIXED, far, 3)
    for trial in history:
        trial.params = trial.point["width"]
    assert len(sampler.ask(MIXED, history, 8, 0, ["valid/error", "params"], [False, False])) == 8


def test_a_regression_through_points_gives_their_order_back():
    grid = [{"width": w} for w in range(1, 65)]
    values = [(p["width"] - 40) ** 2 for p in grid]
    known, wanted = features((WIDTH,), grid[::4]), features((WIDTH,), grid)
    import numpy as np

    expected = gp_mean(known, np.array(values[::4], dtype=float), wanted)
    assert abs(int(np.argmin(expected)) + 1 - 40) <= 2
    assert expected[0] > expected[20] > expected[39]


def test_words_have_an_axis_each_and_numbers_their_share():
    rows = features((WIDTH, KIND, SIZE), [{"width": 64, "kind": "lion", "size": 32}])
    assert rows.tolist() == [[1.0, 0.0, 0.0, 1.0, 0.5]]


def test_points_follow_from_a_history_as_if_optuna_had_copied_it():
    import optuna

    history = searched(made("random"), MIXED, far, 3)
    request = SampleRequest(MIXED, history, 8, 0, ["valid/error"], [False], [])
    with quiet():
        study = optuna.create_study(sampler=made("tpe").sampler(request.rng_seed))
        for trial in history:
            params = {d.key: encoded(d, trial.point[d.key]) for d in MIXED.dimensions}
            value = trial.value("valid/error")
            study.add_trial(optuna.create_trial(params=params, distributions=MIXED.optuna(), value=value))
        asked = [study.ask(MIXED.optuna()).params for _ in range(8)]
    points = [{d.key: decoded(d, params[d.key]) for d in MIXED.dimensions} for params in asked]
    assert made("tpe").pick(request) == points
    assert made("tpe").pick(request) == points
