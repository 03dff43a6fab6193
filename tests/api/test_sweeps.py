"""Searches from Python: a leaderboard, the best run, and the errors of the command."""

from pathlib import Path

import pandas as pd
import pytest

import dlx

SPEC = """\
name: s
data: {digits: {train: 120, valid: 60, test: 60}}
network: {layers: [flatten, {linear: 10}]}
train: {epochs: 1, batch_size: 30, optimizer: {adam: 0.01}}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("searches")


@pytest.fixture(scope="module")
def found(home) -> dlx.StudyResult:
    return dlx.sweep(SPEC, ["train.optimizer.adam.lr=0.1,0.001,0.00001"], runs=home, quiet=True)


def test_the_leaderboard_is_a_frame_with_the_best_first(found):
    board = found.leaderboard

    assert isinstance(board, pd.DataFrame)
    assert list(board.columns) == [
        *("place", "state", "train.optimizer.adam.lr", "valid/error"),
        *("deviation", "interval95", "seeds", "params", "macs", "seconds", "run"),
    ]
    assert board.index.name == "trial"
    assert sorted(board["train.optimizer.adam.lr"]) == [0.00001, 0.001, 0.1]
    assert board["valid/error"].is_monotonic_increasing
    assert (board["params"] == 650).all()
    assert board["deviation"].isna().all()
    assert "train.optimizer.adam.lr" in found._repr_html_()


def test_the_best_trial_is_a_run_with_the_figure_of_the_leaderboard(found, home):
    first = found.leaderboard.iloc[0]

    assert found.best.result["valid/error"] == first["valid/error"]
    assert found.best.folder.absolute() == (home / first["run"]).absolute()
    best = f"best valid/error {first['valid/error']:.4g}"
    assert repr(found) == f"<dlx.StudyResult {found.folder.name}: 3 trials, {best}>"


def test_the_same_call_reads_the_study_and_more_trials_extend_it(found, home):
    again = dlx.sweep(SPEC, ["train.optimizer.adam.lr=0.1,0.001,0.00001"], runs=home, quiet=True)

    assert again.folder == found.folder
    pd.testing.assert_frame_equal(again.leaderboard, found.leaderboard)
    assert list(again.trials["state"]) == ["finished"] * 3
    assert list(again.trials["steps"]) == [4] * 3


def test_a_search_in_which_nothing_varies_is_refused_with_the_way_out(home):
    with pytest.raises(dlx.SpecError, match="nothing varies") as raised:
        dlx.sweep(SPEC, runs=home, quiet=True)
    assert "`sweep: {space: {KEY: [1, 2]}}`" in raised.value.problems[0].hint


def test_a_space_in_the_spec_and_an_option_of_the_command(home):
    spec = f"{SPEC}sweep: {{space: {{train.seed: [1, 2, 3]}}}}\n"
    found = dlx.sweep(spec, {"train.batch_size": 60}, trials=2, sampler="grid", pack="off", runs=home, quiet=True)

    assert len(found.trials) == 2
    assert set(found.trials["steps"]) == {2}
    with pytest.raises(dlx.DlxError, match=r"only train\.seed vary, and none of them is the best"):
        _ = found.best


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"jobs": 0}, "--jobs takes auto or how many, not 0"),
        ({"budget": 30}, "--budget takes a time, not 30"),
        ({"trials": -1}, "`trials` is a whole number from 1, and not -1"),
        ({"trials": "many"}, "`trials` is a whole number from 1, and not 'many'"),
        ({"backend": "slurm"}, "`backend` is one of local, ray, and not 'slurm'"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path, option, message):
    with pytest.raises(dlx.DlxError, match=message):
        dlx.sweep(SPEC, ["train.seed=1,2"], runs=tmp_path, quiet=True, **option)
    assert not list(tmp_path.iterdir())


def test_a_search_of_which_every_trial_fails_is_an_error_with_the_first_reason(home):
    rates = ["train.optimizer={sgd: {lr: 1e38, momentum: 0.9}}", "train.batch_size=20,30"]
    with pytest.raises(dlx.RunError, match=r"every trial of .* failed; the first: ") as raised:
        dlx.sweep(SPEC, rates, runs=home, quiet=True)
    assert raised.value.problems[0].hint == "`retry_failed=True` tries again."


def test_progress_goes_to_stderr(home, capsys):
    dlx.sweep(SPEC, ["train.batch_size=10,20"], runs=home)
    shown = capsys.readouterr()

    assert shown.out == ""
    assert "2 trials of 2 points (train.batch_size)" in shown.err
