"""What mattered, and the pictures of it."""

from math import log10, nan
from random import Random

import pytest

from dlx.spec.sections.sweep_values import Choices, NumberRange
from dlx.sweeps import figures
from dlx.sweeps.figures.base import AxisScale, styled, text, view_of
from dlx.sweeps.importance import comparable_values, dimensions_of, importance, limits
from dlx.sweeps.trial import Trial

RATE, WIDTH = NumberRange("train.optimizer.adam.lr", 1e-4, 1e-1, log=True), NumberRange("vars.width", 8, 64, 1)
WORD, BATCH = Choices("vars.act", ("relu", "tanh")), Choices("train.batch_size", (16, 64, 32))
SPACE = [RATE, WIDTH, WORD, BATCH]


def trial(number, point, *values, state="finished", step=100, metric="valid/error"):
    rungs = {step: {seed: {metric: value} for seed, value in enumerate(values)}} if values else {}
    return Trial(number, point, number // 8, 10 * (number + 1), 5, state=state, rungs=rungs, seconds=1.0 + number)


def error(point, rng):
    off = log10(point[RATE.key]) + 2.5
    return 0.05 + 0.03 * off**2 + 0.1 / point[WIDTH.key] + rng.gauss(0, 0.002)


@pytest.fixture(scope="module")
def trials():
    """Twenty of them, one that was stopped, one that failed, one that diverged and one that ran away."""
    rng = Random(0)
    made = []
    for number in range(20):
        point = {d.key: d.at(rng.random()) for d in SPACE}
        made.append(trial(number, point, *(error(point, rng) for _ in range(3))))
    made[3] = trial(3, made[3].point, 0.2, 0.2, 0.2, state="stopped", step=50)
    made[4] = trial(4, made[4].point, state="failed")
    made[5] = trial(5, made[5].point, nan, 0.1, 0.1)
    made[6] = trial(6, made[6].point, 90.0, 80.0, 100.0)
    return made


def test_importance_splits_the_variance_as_the_function_does():
    """Over a full grid of a and b from 0 to 9, 3a + b varies by 9 parts and 1 part of 10."""
    grid = [trial(10 * a + b, {"a": a, "b": b}, 3.0 * a + b) for a in range(10) for b in range(10)]
    shares = importance(grid, [Choices("a", tuple(range(10))), NumberRange("b", 0, 9, 1)], "valid/error")

    assert list(shares) == ["a", "b"]
    assert shares["a"] == pytest.approx(0.9, abs=0.02)
    assert shares["b"] == pytest.approx(0.1, abs=0.02)


def test_what_only_two_keys_together_decide_is_no_key_s_own():
    """a * b over a and b from -5 to 4, whose means are near 0."""
    grid = [trial(10 * a + b, {"a": a, "b": b}, (a - 4.5) * (b - 4.5)) for a in range(10) for b in range(10)]
    result = importance(grid, [Choices("a", tuple(range(10))), NumberRange("b", 0, 9, 1)], "valid/error")

    assert sum(result.values()) < 0.15


def test_importance_is_the_same_each_time_and_says_nothing_of_a_few_trials(trials):
    assert importance(trials, SPACE, "valid/error") == importance(trials, SPACE, "valid/error")
    assert importance(trials[7:14], SPACE, "valid/error") == {}
    assert importance([trial(n, t.point, 0.5) for n, t in enumerate(trials)], SPACE, "valid/error") == {}


def test_trials_are_compared_at_the_last_rung_that_half_of_them_came_to():
    def rungs(number, *values):
        result = {10 * (i + 1): {0: {"e": value}} for i, value in enumerate(values)}
        return Trial(number, {}, 0, 1, 1, state="stopped", rungs=result)

    assert comparable_values([rungs(0, 0.9, 0.5), rungs(1, 0.8), rungs(2, 0.7), rungs(3)], "e") == {
        0: 0.9,
        1: 0.8,
        2: 0.7,
    }
    assert comparable_values([rungs(0, 0.9, 0.5), rungs(1, 0.8, nan), rungs(2, 0.7)], "e") == {0: 0.5}
    assert comparable_values([], "e") == {}


def test_what_lies_far_beyond_the_rest_is_at_the_edge():
    """The better three quarters of 1, 2, 3, 4, 100 reach to 4: 3 from the best, and 2.5 times as far is 8.5."""
    assert limits([3, 1, 100, 2, 4], rising=False) == (1, 8.5)
    assert limits([-3, -1, -100, -2, -4], rising=True) == (-8.5, -1)
    assert limits([1, 2, 3], rising=False) == (1, 3)
    assert limits([0.5, 0.5], rising=False) == (0.25, 0.75)


def test_dimensions_come_back_from_the_journal_as_they_were():
    assert dimensions_of({d.key: d.as_json() for d in SPACE}) == SPACE


def test_an_axis_is_logarithmic_where_its_values_are():
    assert AxisScale(RATE).log
    assert AxisScale(Choices("b", (16, 32, 64, 128))).log
    assert not AxisScale(Choices("b", (16, 32, 48))).log
    assert not AxisScale(WIDTH).log
    assert not AxisScale(WORD).log


def test_values_are_formatted_briefly():
    assert [text(v) for v in (0.0123456, 1_000_000, True, "relu", None)] == [
        "0.01235",
        "1,000,000",
        "true",
        "relu",
        "nothing",
    ]
    assert len(text("x" * 99)) == 24


def test_every_figure_is_saved_and_can_be_opened(trials, tmp_path):
    from PIL import Image

    files = figures.draw(trials, SPACE, "valid/error", False, tmp_path / "figures")

    assert [f.name for f in files] == [f"{name}.png" for name in figures.PICTURES]
    for file in files:
        with Image.open(file) as picture:
            assert min(picture.size) > 200
            assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 10, f"{file} is empty"


def test_the_same_study_makes_the_same_bytes(trials, tmp_path):
    about = view_of(trials, SPACE, "valid/error", False)
    for form in ("png", "svg"):
        for name in ("one", "other"):
            with styled():
                figures.history.history(about).save(tmp_path / f"{name}.{form}")
        assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / f"other.{form}").read_bytes()


def test_labels_name_the_metric_the_seeds_and_the_keys(trials):
    about = view_of(trials, SPACE, "valid/error", False)
    with styled():
        (axes, _) = figures.history.history(about).figure.axes, None
        assert axes[0].get_ylabel() == "valid/error, mean of 3 seeds (lower is better)"
        assert axes[0].get_title("left") == "20 trials: 18 finished, 1 stopped, 1 failed, 1 diverged"
        panels = figures.points.slices(about).figure.axes
        assert {panel.get_xlabel() for panel in panels[:4]} == {"lr", "width", "act", "batch_size"}
        (rates,) = [panel for panel in panels if panel.get_xlabel() == "lr"]
        assert rates.get_xscale() == "log"
        costs = [panel.get_xlabel() for panel in figures.history.pareto(about).figure.axes]
        assert costs == ["parameters", "seconds of training, all seeds"]


def test_a_grid_of_two_keys_shows_each_mean_and_the_best_cell():
    grid = [
        trial(3 * i + j, {"a": a, "b": b}, 0.1 * i + 0.01 * j)
        for i, a in enumerate((1, 2))
        for j, b in enumerate("xyz")
    ]
    about = view_of(grid, [Choices("a", (1, 2)), Choices("b", ("x", "y", "z"))], "valid/error", False)
    with styled():
        axes = figures.points.contour(about).figure.axes[0]

    assert sorted(t.get_text() for t in axes.texts) == ["0.000", "0.010", "0.020", "0.100", "0.110", "0.120"]
    (cell,) = axes.patches
    assert cell.get_xy() == (-0.5, -0.5)


def test_of_one_key_there_is_no_picture_of_two(tmp_path):
    few = [trial(n, {"vars.width": 8 + n}, 0.5 - 0.01 * n) for n in range(4)]

    assert [f.stem for f in figures.draw(few, [WIDTH], "valid/error", False, tmp_path)] == [
        "history",
        "pareto",
        "slices",
    ]


def test_no_figure_of_no_trial(tmp_path):
    assert figures.draw([trial(0, {}, state="failed")], SPACE, "valid/error", False, tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
