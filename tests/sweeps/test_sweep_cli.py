"""`dlx sweep` as a user meets it."""

import json
import re
import subprocess
from pathlib import Path

import commands
import pytest
from studies import RATE, spec_in

RATES = "train.optimizer.adam.lr=0.1,0.01"


@pytest.fixture
def folder(tmp_path):
    spec_in(tmp_path, "track: {mlflow: false}\n")
    return tmp_path


def dlx(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return commands.dlx(*argv, cwd=folder)


def test_in_a_pipe_it_prints_each_trial_in_a_line_and_the_best_at_the_end(folder):
    done = dlx(folder, "sweep", "s.yaml", RATES)

    assert done.returncode == 0, done.stderr
    first, *trials = done.stderr.splitlines()
    assert re.fullmatch(
        r"sweep-[0-9a-f]{8}: 2 trials of 2 points \(train\.optimizer\.adam\.lr\), grid, least valid/error", first
    )
    assert [line[:16] for line in trials] == ["trial 0  lr 0.1 ", "trial 1  lr 0.01"]
    assert all(re.search(r"finished: valid/error [\d.]+$", line) for line in trials)
    table = done.stdout.splitlines()
    assert table[0].split() == ["place", "trial", "lr", "valid/error", "s"]
    assert re.search(r"^2 trials: 2 finished; [\d.]+ s$", done.stdout, re.MULTILINE)
    study = re.search(r"^study   (runs/s/sweep-\S+)$", done.stdout, re.MULTILINE)[1]
    assert f"again   dlx train {study}" in done.stdout
    assert (folder / study / "study.jsonl").is_file()


def test_json_is_one_document_and_train_takes_the_study(folder):
    done = dlx(folder, "sweep", "s.yaml", RATES, "--json")
    found = json.loads(done.stdout)

    assert done.stderr == ""
    assert set(found) >= {"study", "dir", "trials", "finished", "refused", "best", "ended", "next"}
    assert set(found["best"]) >= {"number", "point", "metrics", "run"}
    again = json.loads(dlx(folder, "train", found["dir"], "--json").stdout)
    found["best"]["metrics"].pop("train/running_loss")  # a point of its curve
    assert again["metrics"] == found["best"]["metrics"]
    alone = json.loads(dlx(folder, "train", found["best"]["run"], "--json").stdout)
    assert alone["metrics"] == found["best"]["metrics"]


def test_on_a_terminal_there_is_a_table_that_lives(folder):
    status, text = commands.dlx_on_terminal("sweep", "s.yaml", RATES, cwd=folder, columns=100)

    assert status == 0
    assert "2 finished, 0 stopped, 0 failed, 0 waiting; 0 refused" in text
    assert "\x1b[" in text


@pytest.mark.parametrize(
    ("argv", "status", "sentences"),
    [
        (["train.optimizer.adam.weight_dcay=1,2"], 2, ["no field `weight_dcay`", "Did you mean `weight_decay`?"]),
        (["train.optimizer.adam.lr=interval(1,0.1)"], 2, ["interval(1, 0.1) is reversed"]),
        ([RATES, "--sampler", "tpee"], 2, ["there is no sampler `tpee`", "Did you mean `tpe`"]),
        ([RATES, "--budget", "soon"], 2, ["--budget takes a time, not soon"]),
        ([RATES, "--pack", "all"], 2, ["--pack takes auto, off or how many, not all"]),
        (["train.epochs=3"], 2, ["nothing varies"]),
        (
            [RATES, "++sweep.metric=valid/acuracy"],
            2,
            ["no trial reports valid/acuracy", "Did you mean `valid/accuracy`"],
        ),
        ([RATES, "++sweep.constraints=['parms <= 3']"], 2, ["there is no figure `parms`", "Did you mean `params`"]),
    ],
)
def test_what_is_wrong_is_reported_before_anything_is_trained(folder, argv, status, sentences):
    done = dlx(folder, "sweep", "s.yaml", *argv)

    assert done.returncode == status
    for sentence in sentences:
        assert sentence in done.stderr
    assert not list(folder.glob("runs/s/trial-*"))


def test_trials_extend_a_study_and_the_budget_ends_it(folder):
    few = json.loads(dlx(folder, "sweep", "s.yaml", RATE, "--trials", "2", "--json").stdout)
    more = json.loads(dlx(folder, "sweep", "s.yaml", RATE, "--trials", "3", "--json").stdout)

    assert (few["trials"], more["trials"]) == (2, 3)
    assert few["dir"] == more["dir"]
    done = dlx(
        folder,
        "sweep",
        "s.yaml",
        RATE,
        "train.epochs=40000",
        "++train.log_every=1",
        "--trials",
        "9",
        "--budget",
        "4s",
    )
    assert done.returncode == 0
    assert re.search(
        r"^next    its time is spent; the same command would go on with trials? ", done.stdout, re.MULTILINE
    )


def test_a_sweep_in_which_all_fails_has_failed(folder):
    spec = folder / "s.yaml"
    spec.write_text(spec.read_text().replace("adam: {lr: 0.01}", "sgd: {lr: 0.01}"))
    done = dlx(folder, "sweep", "s.yaml", "train.optimizer.sgd.lr=1e30,2e30")

    assert done.returncode == 1
    assert "2 trials: 2 failed" in done.stdout
    assert "trial 0  lr 1e+30  failed: " in done.stderr
