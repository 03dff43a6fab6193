"""The leaderboard: places by hand, ties that chance makes, fronts, and when a search has settled."""

from math import inf, nan

import pytest

from dlx.sweeps.leaderboard import converged, difference, front, front_of, rank, undominated
from dlx.sweeps.trial import Trial


def trial(number, *values, state="finished", step=100, generation=0, params=10, seconds=1.0):
    """A trial with a value of `e` for each seed."""
    rungs = {step: {seed: {"e": value} for seed, value in enumerate(values)}} if values else {}
    made = Trial(number, {"x": number}, generation, params, params, state=state, rungs=rungs)
    made.seconds = seconds
    return made


def labels(board):
    return [(place.trial.number, place.label) for place in board]


def test_mean_deviation_and_interval_are_those_of_the_seeds():
    (place,) = rank([trial(0, 0.1, 0.2, 0.3)], "e", rising=False)

    assert place.mean == pytest.approx(0.2)
    assert place.deviation == pytest.approx(0.1)  # the mean square of -0.1, 0, 0.1 over n - 1 = 2 is 0.01
    assert place.interval == pytest.approx(4.302653 * 0.1 / 3**0.5)  # Student's t, 2 degrees of freedom
    assert place.seeds == 3


def test_trials_are_compared_seed_by_seed():
    """Each is spread by 0.1; the differences from the best are 0.02, 0.03, 0.01 and 0.02, 0.02, 0.03."""
    best, near, apart = trial(0, 0.10, 0.20, 0.30), trial(1, 0.12, 0.23, 0.31), trial(2, 0.12, 0.22, 0.33)

    between = difference(near, best, "e")
    assert between.mean == pytest.approx(0.02)
    assert between.interval == pytest.approx(4.302653 * 0.01 / 3**0.5)  # 0.0248: chance may do that
    other = difference(apart, best, "e")
    assert other.mean == pytest.approx(0.07 / 3)
    assert other.interval == pytest.approx(4.302653 * 0.0057735 / 3**0.5, rel=1e-5)  # 0.0143: it does not
    assert labels(rank([apart, near, best], "e", rising=False)) == [(0, "1="), (1, "1="), (2, "3")]


def test_what_cannot_be_distinguished_from_the_best_shares_its_place_however_far_behind_its_mean_is():
    """The wild one has 0.09 more in the mean, with an interval of 0.54."""
    best, steady, wild = trial(0, 0.10, 0.11, 0.12), trial(1, 0.15, 0.16, 0.17), trial(2, 0.05, 0.45, 0.10)

    assert labels(rank([steady, wild, best], "e", rising=False)) == [(0, "1="), (1, "2"), (2, "1=")]


def test_the_places_behind_the_first_are_shared_with_the_first_of_their_like():
    board = rank([trial(0, 1, 1), trial(1, 2, 2), trial(2, 2, 2), trial(3, 3, 3), trial(4, 2, 2)], "e", rising=False)

    assert labels(board) == [(0, "1"), (1, "2="), (2, "2="), (4, "2="), (3, "5")]


def test_with_one_seed_only_equal_values_share_a_place():
    board = rank([trial(0, 0.3), trial(1, 0.2), trial(2, 0.3), trial(3, 0.1)], "e", rising=False)

    assert labels(board) == [(3, "1"), (1, "2"), (0, "3="), (2, "3=")]
    assert (board[1].deviation, board[1].interval) == (None, None)
    assert (board[1].behind.mean, board[1].behind.interval) == (pytest.approx(0.1), None)


def test_more_is_better_where_the_metric_rises():
    assert labels(rank([trial(0, 0.3), trial(1, 0.9)], "e", rising=True)) == [(1, "1"), (0, "2")]


def test_a_finished_trial_comes_before_a_stopped_one_and_then_who_came_furthest():
    board = rank(
        [
            trial(0, 0.1, state="stopped", step=50),
            trial(1, 0.9),
            trial(2, 0.8, state="stopped", step=70),
            trial(3, 0.05, state="stopped", step=50),
            trial(4, state="failed"),
            trial(5, 0.0, state="waiting", step=50),
        ],
        "e",
        rising=False,
    )

    assert labels(board) == [(1, "1"), (2, "2"), (3, "3"), (0, "4")]


def test_trials_that_stopped_at_different_steps_are_never_called_alike():
    board = rank(
        [trial(0, 0.1, state="stopped", step=70), trial(1, 0.1, state="stopped", step=50)], "e", rising=False
    )

    assert labels(board) == [(0, "1"), (1, "2")]


@pytest.mark.parametrize("value", [nan, inf])
def test_a_training_that_diverged_is_the_last_of_the_finished_ones(value):
    board = rank([trial(0, value, 0.1), trial(1, 0.5, 0.6), trial(2, 0.7, state="stopped")], "e", rising=False)

    assert [place.trial.number for place in board] == [1, 0, 2]
    assert board[1].deviation is None
    assert isinstance(board[1].as_json()["mean"], str)


def test_only_seeds_that_both_have_are_compared():
    one, other = trial(0, 0.1, 0.2, 0.9), trial(1, 0.2, 0.3)

    assert difference(other, one, "e").seeds == 2
    assert difference(other, one, "e").mean == pytest.approx(0.1)


def test_a_place_as_json_has_what_stands_on_the_board():
    (_, second) = rank([trial(0, 0.1, 0.2), trial(1, 0.3, 0.4)], "e", rising=False)

    assert second.as_json() == {
        "place": 2,
        "tied": False,
        "trial": 1,
        "state": "finished",
        "point": {"x": 1},
        "mean": pytest.approx(0.35),
        "deviation": pytest.approx(0.0707107),
        "interval95": pytest.approx(12.7062 * 0.05),
        "seeds": 2,
        "behind": {"mean": pytest.approx(0.2), "interval95": pytest.approx(0.0, abs=1e-12)},
        "params": 10,
        "macs": 10,
        "seconds": 1.0,
    }


def test_the_front_has_what_none_beats_at_the_same_cost():
    """Errors 0.3, 0.4, 0.2, 0.2, 0.1 at 10, 20, 20, 30 and 40 parameters."""
    trials = [
        trial(n, e, params=p) for n, (e, p) in enumerate([(0.3, 10), (0.4, 20), (0.2, 20), (0.2, 30), (0.1, 40)])
    ]

    assert [t.number for t in front(trials, "e", False, "params")] == [0, 2, 4]
    assert [t.number for t in front(trials, "e", True, "params")] == [0, 1]


def test_the_front_leaves_out_what_did_not_finish_or_diverged():
    trials = [trial(0, nan, seconds=1), trial(1, 0.1, state="stopped", seconds=1), trial(2, 0.5, seconds=9)]

    assert [t.number for t in front(trials, "e", False, "seconds")] == [2]


def test_the_front_of_several_metrics_has_each_way_of_being_good():
    def both(number, e, f):
        return Trial(number, {}, 0, 1, 1, state="finished", rungs={1: {0: {"e": e, "f": f}}})

    trials = [both(0, 0.1, 0.1), both(1, 0.2, 0.9), both(2, 0.3, 0.5), both(3, 0.1, 0.1)]

    assert [t.number for t in front_of(trials, ["e", "f"], [False, True])] == [0, 3, 1]


def test_of_equal_rows_all_stay():
    assert sorted(undominated([(1.0, 2.0), (1.0, 2.0), (2.0, 1.0), (2.0, 2.0)])) == [0, 1, 2]


def alike(number, generation, *values):
    return trial(number, *values, generation=generation)


STEADY = [
    alike(0, 0, 0.10, 0.20, 0.30),
    alike(1, 0, 0.11, 0.19, 0.31),
    alike(2, 1, 0.12, 0.23, 0.29),
    alike(3, 2, 0.50, 0.60, 0.70),
]


def test_a_search_has_converged_where_the_best_are_alike_and_nothing_new_is_better():
    assert converged(STEADY, "e", False) == (
        "trials 0, 1, 2 are the best and cannot be told apart: e differs by 0.013 at most, which 3 seeds leave to "
        "chance; and the last 2 generations brought nothing that is better than trial 0 by more than chance"
    )


@pytest.mark.parametrize(
    "trials",
    [
        [],
        STEADY[:3],  # one generation less
        [*STEADY, alike(4, 2, 0.05, 0.15, 0.25)],  # better by 0.05 with every seed
        [trial(t.number, *[t.rungs[100][s]["e"] for s in (0, 1)], generation=t.generation) for t in STEADY],
        [STEADY[0], alike(1, 0, 0.2, 0.3, 0.4), alike(2, 1, 0.3, 0.4, 0.5), STEADY[3]],  # the best stands alone
    ],
    ids=["nothing", "too soon", "better", "two seeds", "alone"],
)
def test_a_search_has_not_converged(trials):
    assert converged(trials, "e", False) is None


def test_a_lucky_newcomer_within_the_noise_does_not_keep_a_search_going():
    lucky = alike(4, 2, 0.08, 0.21, 0.28)

    assert "better than trial 0" in converged([*STEADY, lucky], "e", False)
