"""A study's journal: what was recorded is read again, half a line is no fact, and nobody else writes meanwhile."""

import json
import signal
import subprocess
import sys

import pytest

from dlx.errors import DlxError
from dlx.sweeps.study import Study, digest, locked, spec_in
from dlx.sweeps.trial import Refused, Trial

IDENTITY = {
    "spec": {"train": {"epochs": 3, "batch_size": 32}},
    "space": {"train.lr": {"choice": [1, 2]}},
    "metrics": ["valid/error"],
    "rising": [False],
}


def trial(number: int, generation: int = 0) -> Trial:
    return Trial(number, {"train.lr": number}, generation, 10, 20, runs={0: f"s/trial-{number}"})


def recorded_study(folder) -> Study:
    """Two generations: one trial finished, one stopped, one failed, one that is where it was suggested."""
    study = Study.begin(folder, IDENTITY)
    study.record_generation(0, [trial(0), trial(1)], [Refused({"train.lr": 9}, "params is 5")])
    study.record_progress(
        study.trials[0], 10, {0: {"valid/error": 0.5}, 1: {"valid/error": 0.3}}, {0: 10, 1: 10}, 1.5, "waiting"
    )
    study.record_progress(study.trials[1], 10, {0: {"valid/error": float("nan")}}, {0: 10}, 1.0, "waiting")
    study.record_stopped(10, [1])
    study.record_progress(
        study.trials[0], 20, {0: {"valid/error": 0.2}, 1: {"valid/error": 0.1}}, {0: 20, 1: 20}, 1.5, "finished"
    )
    study.record_generation(1, [trial(2, 1), trial(3, 1)], [])
    study.record_progress(study.trials[2], 20, {}, {0: 7}, 0.5, "failed", "the loss is nan at step 7")
    study.close()
    return study


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "runs" / "s" / "sweep-1"
    path.mkdir(parents=True)
    return path


def test_what_was_recorded_is_read_again(folder):
    study = recorded_study(folder)
    again = Study.open(folder)

    assert [vars(t) for t in again.trials[2:]] == [vars(t) for t in study.trials[2:]]
    assert again.refused == [Refused({"train.lr": 9}, "params is 5")]
    assert [t.state for t in again.trials] == ["finished", "stopped", "failed", "waiting"]
    assert again.trials[0].value("valid/error") == pytest.approx(0.15)
    assert again.trials[0].value("valid/error", 10) == pytest.approx(0.4)
    assert (again.trials[0].seconds, again.trials[0].steps) == (3.0, {0: 20, 1: 20})
    assert again.trials[1].value("valid/error") != again.trials[1].value("valid/error")
    assert again.trials[2].message == "the loss is nan at step 7"
    assert again.best() is again.trials[0]
    assert [t.number for t in again.earlier_trials(1)] == [0, 1]


def test_what_failed_waits_once_it_is_retried(folder):
    study = recorded_study(folder)
    study.record_retried([2])
    study.close()
    assert [(t.state, t.message) for t in Study.open(folder).trials[2:]] == [("waiting", "")] * 2


@pytest.mark.parametrize(
    "half", [b'{"fact":"stop', b'{"fact":"stopped","step":20,"trials":[3]}', b"\0\0\0\n", b"{}\n"]
)
def test_half_a_line_at_the_end_is_no_fact_and_is_cut_off_by_the_next(folder, half):
    """What a kill leaves, and what a power cut may."""
    recorded_study(folder)
    path = folder / "study.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + half)
    study = Study.begin(folder, IDENTITY)

    assert study.trials[3].state == "waiting"
    study.record_stopped(20, [3])
    study.close()
    assert path.read_bytes().startswith(whole + b'{"fact":"stopped"')
    assert Study.open(folder).trials[3].state == "stopped"


@pytest.mark.parametrize(
    ("line", "what"),
    [("nonsense", "is not a fact of a study"), ('{"fact":"stopped","trials":[7]}', "does not follow")],
)
def test_a_corrupt_line_is_reported_with_its_number_and_a_way_out_that_works(folder, line, what):
    recorded_study(folder)
    path = folder / "study.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], line, *lines[4:]]) + "\n")
    with pytest.raises(DlxError) as refused:
        Study.open(folder)
    (problem,) = refused.value.problems

    assert problem.message.startswith(f"line 5 of {path} {what}")
    assert "head -n 4 study.jsonl > kept && mv kept study.jsonl" in problem.hint
    subprocess.run(problem.hint.split("`")[1], shell=True, check=True, cwd=folder)  # noqa: S602
    assert [t.state for t in Study.open(folder).trials] == ["waiting", "waiting"]


def test_a_folder_of_another_spec_is_refused_with_what_differs(folder):
    recorded_study(folder)
    other = json.loads(json.dumps(IDENTITY))
    other["spec"]["train"] = {"epochs": 5, "batch_size": 32, "seed": 1}
    with pytest.raises(DlxError) as refused:
        Study.begin(folder, other)

    assert refused.value.problems[0].message == (
        f"{folder} is the study of another spec: `train.epochs` is 5, and there 3; "
        "`train.seed` is 1, and there not given"
    )
    assert digest(other) != digest(IDENTITY)


def test_two_sweeps_cannot_have_one_folder(folder):
    with (
        locked(folder),
        pytest.raises(DlxError, match=r"is being searched by process \d+ on ") as refused,
        locked(folder),
    ):
        pass
    assert "continued by the same command" in refused.value.problems[0].hint
    with locked(folder):
        pass


def test_a_sweep_that_was_killed_keeps_nobody_out(folder):
    code = f"import sys, time; from dlx.sweeps.study import locked; from pathlib import Path\n\
with locked(Path({str(folder)!r})):\n    print('in', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in\n"
        with pytest.raises(DlxError, match=f"process {process.pid} on"), locked(folder):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locked(folder):
        pass


def test_what_is_neither_a_run_nor_a_study_is_reported(folder, tmp_path):
    with pytest.raises(DlxError, match="is neither a run nor a study"):
        spec_in(tmp_path)
    Study.begin(folder, IDENTITY).close()
    with pytest.raises(DlxError, match=r"no trial of .* has finished"):
        spec_in(folder)
    with pytest.raises(DlxError, match=r"is no study: it has no study\.jsonl"):
        Study.open(tmp_path)


def test_ten_thousand_trials_are_read_once_and_gone_on_with_by_one_line(folder):
    count = 10_000
    facts = [{"fact": "study", "version": 1, "identity": IDENTITY}]
    for first in range(0, count, 8):
        each = [
            {"number": n, "point": {"train.lr": n}, "params": 1, "macs": 1, "runs": {"0": f"s/trial-{n}"}}
            for n in range(first, first + 8)
        ]
        facts.append({"fact": "generation", "generation": first // 8, "trials": each, "refused": []})
        facts += [
            {
                "fact": "reached",
                "trial": n,
                "step": 9,
                "metrics": {"0": {"valid/error": 1 / (n + 1)}},
                "steps": {"0": 9},
                "seconds": 0.1,
                "state": "finished",
            }
            for n in range(first, first + 8)
        ]
    path = folder / "study.jsonl"
    path.write_text("".join(json.dumps(fact) + "\n" for fact in facts))
    before = path.stat().st_size
    study = Study.begin(folder, IDENTITY)

    assert len(study.in_state("finished")) == count
    assert study.best().number == count - 1
    study.record_generation(count // 8, [trial(count, count // 8)], [])
    study.close()
    assert path.read_bytes()[before:].count(b"\n") == 1
