"""Copies that follow a network: by hand, replayed, packed, resumed to the same bits, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import dlx
from complaints import lines
from helpers import experiment_of

from dlx.errors import SpecError
from dlx.experiment import runner, session
from dlx.experiment.recorder import TrainingStarted
from dlx.graph import trace_all
from dlx.graph.comparison.diff import diff
from dlx.training.batches.step_chunk import step_chunks
from dlx.training.fit import fit
from dlx.training.following import Following
from dlx.training.prepared import prepare

TEXT = """\
dlx: 1
name: mean
data: {synthetic: {shape: [2], classes: 2, train: 60, valid: 20, test: 20, labelled: {count: 12}}}
networks:
  student: {layers: [{linear: 8}, {batch_norm: {}}, tanh, {dropout: 0.2}, {linear: 2}]}
  teacher: {copy: student, follow: {ema: 0.9}}
objective: {pseudo_label: {threshold: 0.6}}
train: {steps: 7, batch_size: 10, save_every: 2, log_every: 1, optimizer: {student: {sgd: 0.5}}, seed: 1}
track: {mlflow: false}
"""
UNTIED = f"{TEXT.replace(', follow: {ema: 0.9}', '')}freeze: [teacher]\n"
"""The same, with weights of its own."""


def job_of(text: str) -> Any:
    return session.job_of(prepare(experiment_of(text)))


def weights_by_step(text: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The tensors of student and teacher before each step and at the end."""
    job = job_of(text)
    found: tuple[list[Any], list[Any]] = ([], [])
    for _ in range(job.total_steps + 1):
        for name, each in zip(("student", "teacher"), found, strict=True):
            each.append({key: one.clone() for key, one in job.learner.networks[name].state_dict().items()})
        if job.progress.step < job.total_steps:
            job.progress.until = job.progress.step + 1
            list(fit(job))
    return found


# --- what it does ---------------------------------------------------------------------------------------------------


def test_a_moving_average_follows_by_its_formula():
    student, teacher = weights_by_step(TEXT)
    mean = {name: one.double() for name, one in student[0].items()}
    for now, found in zip(student[1:], teacher[1:], strict=True):
        for name, one in now.items():
            if name.endswith("num_batches_tracked"):
                assert found[name] == one
                continue
            mean[name] = 0.9 * mean[name] + 0.1 * one.double()
            torch.testing.assert_close(found[name].double(), mean[name], rtol=1e-5, atol=1e-6)
    assert not teacher[-1]["linear_1.weight"].equal(student[-1]["linear_1.weight"])


def test_a_copy_is_taken_every_so_many_steps():
    student, teacher = weights_by_step(TEXT.replace("{ema: 0.9}", "{every: 3}"))
    for step, found in enumerate(teacher):
        last = step - step % 3
        assert all(one.equal(student[last][name]) for name, one in found.items()), step
    assert not teacher[4]["linear_1.weight"].equal(student[4]["linear_1.weight"])


def test_it_begins_equal_and_the_others_begin_as_they_would_without_it():
    with_it, without = job_of(TEXT).learner, job_of(UNTIED).learner
    first, followed, other, alone = (
        one.networks[name].state_dict() for one in (with_it, without) for name in ("student", "teacher")
    )
    assert all(one.equal(other[name]) and one.equal(followed[name]) for name, one in first.items())
    assert not first["linear_1.weight"].equal(alone["linear_1.weight"])


def test_it_is_in_evaluation_and_has_neither_gradients_nor_an_optimizer():
    learner = job_of(TEXT).learner
    learner.set_training_mode()
    assert learner.networks["student"].training
    assert not any(one.training for one in learner.networks["teacher"].modules())
    assert not any(one.requires_grad for one in learner.networks["teacher"].parameters())
    assert list(learner.optimizers) == ["student"]


def test_an_average_is_of_the_other_network_alone():
    learner = job_of(TEXT.replace("seed: 1", "seed: 1, average: {ema: 0.5}")).learner
    assert list(learner.averages) == ["student"]


# --- the ways of a step ---------------------------------------------------------------------------------------------

DISTILLED = (
    TEXT.replace("steps: 7", "steps: 260")
    .replace("save_every: 2, log_every: 1, ", "")
    .replace("{dropout: 0.2}, ", "")
    .replace("{pseudo_label: {threshold: 0.6}}", "distillation")
    .replace(", labelled: {count: 12}", "")
)

FROZEN = f"{DISTILLED.replace(', follow: {ema: 0.9}', '')}freeze: [teacher]\n"


def ended(text: str, folder: Path) -> list[Any]:
    from safetensors.torch import load_file

    results = runner.run(experiment_of(text), folder).results
    return [(load_file(one.run.dir / "checkpoints/final.safetensors"), one.run.lock()) for one in results]


def test_replayed_steps_follow_to_the_same_bits(tmp_path):
    text = DISTILLED
    ((plain, _),) = ended(text.replace("seed: 1", "seed: 1, trace: false"), tmp_path / "plain")
    ((replayed, lock),) = ended(text.replace("seed: 1", "seed: 1, trace: true"), tmp_path / "replayed")
    assert lock["way"]["step"] == "replayed"
    assert all(one.equal(replayed[name]) for name, one in plain.items() if not name.startswith("state/"))
    monkey = pytest.MonkeyPatch()
    monkey.setattr(Following, "update", lambda *_: None)
    ((still, _),) = ended(text.replace("seed: 1", "seed: 1, trace: true"), tmp_path / "still")
    monkey.undo()
    assert not still["teacher.linear_1.weight"].equal(plain["teacher.linear_1.weight"])
    assert not still["student.linear_1.weight"].equal(plain["student.linear_1.weight"])


def test_packed_seeds_follow_as_each_alone_does(tmp_path):
    text = DISTILLED.replace("steps: 260", "steps: 30")
    together = ended(text.replace("seed: 1", "seed: 1, seeds: 2"), tmp_path / "both")
    assert together[0][1]["way"]["step"] == "packed"
    for seed, (packed, _) in enumerate(together, 1):
        ((alone, _),) = ended(text.replace("seed: 1", f"seed: {seed}, trace: false"), tmp_path / f"alone{seed}")
        for name, one in alone.items():
            if not name.startswith("state/"):
                torch.testing.assert_close(packed[name], one, rtol=1e-4, atol=1e-5)


def test_steps_in_one_call_are_not_for_what_follows_in_each():
    following, still = (next(step_chunks(job_of(text))) for text in (DISTILLED, FROZEN))
    assert still.changes_only_rates
    assert not following.changes_only_rates


@pytest.mark.parametrize(("every", "found"), [(8, 1), (7, 0)])
def test_a_copy_that_would_come_after_the_end_is_told(tmp_path, every, found):
    text = TEXT.replace("{ema: 0.9}", f"{{every: {every}}}")
    begun: list[Any] = []
    runner.run(experiment_of(text), tmp_path, begun.append)
    note = "`teacher` becomes a copy of `student` every 8 steps, and the training has 7: it stays as it begins"
    assert [one.notes.count(note) for one in begun if isinstance(one, TrainingStarted)] == [found]


@pytest.mark.parametrize("follow", ["{ema: 0.9}", "{every: 3}"])
def test_a_run_that_is_halted_goes_on_to_the_same_bits(tmp_path, follow):
    from dlx.experiment.recorder import RunRecorder

    text = TEXT.replace("{ema: 0.9}", follow)
    ((whole, _),) = ended(text, tmp_path / "whole")
    prepared = prepare(experiment_of(text))
    folder = session.new_run(prepared, tmp_path / "halted")
    assert session.train_run(RunRecorder(folder), prepared, session.Session(until=4)).status != "finished"
    session.train_run(RunRecorder(folder), prepared, session.Session())
    from safetensors.torch import load_file

    again = load_file(folder.dir / "checkpoints/final.safetensors")
    assert all(one.equal(again[name]) for name, one in whole.items() if not name.startswith("state/"))


# --- where weights come from ----------------------------------------------------------------------------------------


def test_weights_of_a_run_are_those_of_the_follower_too(tmp_path):
    ((first, _),) = ended(TEXT, tmp_path / "runs")
    (run,) = (tmp_path / "runs/mean").iterdir()
    job = job_of_with_weights(TEXT, run)
    for network in ("student", "teacher"):
        for name, one in job.learner.networks[network].state_dict().items():
            assert one.equal(first[f"{network}.{name}"]), name


def test_a_follower_that_the_source_lacks_begins_as_the_network_that_it_follows(tmp_path):
    ((first, _),) = ended(UNTIED, tmp_path / "runs")
    (run,) = (tmp_path / "runs/mean").iterdir()
    job = job_of_with_weights(TEXT, run, "skip: [teacher]")
    for name, one in job.learner.networks["teacher"].state_dict().items():
        assert one.equal(first[f"student.{name}"]), name


def job_of_with_weights(text: str, run: Path, more: str = "") -> Any:
    from dlx.training import initial_weights

    prepared = prepare(experiment_of(f"{text}weights: {{from: {run}{', ' * bool(more)}{more}}}\n"))
    return session.job_of(prepared, initial=[initial_weights.load(prepared.experiment, prepared.graphs)])


# --- what is said ---------------------------------------------------------------------------------------------------


def test_inspect_tells_whom_it_follows_and_counts_it_as_not_trainable(tmp_path):
    (tmp_path / "s.yaml").write_text(TEXT)
    shown = dlx("inspect", str(tmp_path / "s.yaml")).stdout
    assert "`teacher` follows `student`: it keeps 0.9 of itself in each step" in shown
    document = json.loads(dlx("inspect", str(tmp_path / "s.yaml"), "--json").stdout)
    assert document["networks"]["teacher"]["copy"] == "student"
    assert document["networks"]["teacher"]["follow"] == {"ema": 0.9}
    assert document["networks"]["teacher"]["trainable"] == 0
    assert document["trainable"] == document["networks"]["student"]["params"]
    changed = json.loads(
        dlx("inspect", str(tmp_path / "s.yaml"), "networks.teacher.follow={every: 5}", "--json").stdout
    )
    assert changed["networks"]["teacher"]["follow"] == {"every": 5}


def test_bad_ways_to_follow_are_told_with_the_way_out(tmp_path):
    network = "{inputs: [3], layers: [linear: 2]}"
    text = f"""\
networks:
  q: {network}
  a: {{copy: q, follow: {{}}}}
  b: {{copy: q, follow: {{every: 5, ema: 0.9}}}}
  c: {{copy: q, follow: {{ema: 1}}}}
  d: {{copy: q, follow: q}}
  e: {{inputs: [3], layers: [linear: 2], follow: {{every: 5}}}}
  f: {{copy: q, follow: {{evry: 5}}}}
  g: {{copy: q, follow: {{every: 0}}}}
"""
    (tmp_path / "s.yaml").write_text(text)
    from dlx.spec import load

    with pytest.raises(SpecError) as error:
        trace_all(load(tmp_path / "s.yaml"))
    assert str(error.value).replace(f"{tmp_path}/", "") == lines(
        """
        s.yaml:3:16  networks.a.follow
          `follow` wants `every`, steps from copy to copy, or `ema`, what it keeps of itself in a step
        s.yaml:4:16  networks.b.follow
          `follow` has `every` and `ema`: keep one of the two
        s.yaml:5:25  networks.c.follow.ema
          `ema` must be below 1, not 1
          ema: share of itself that it keeps in each step, the decay of an exponential moving average.
        s.yaml:6:16  networks.d.follow
          `follow` must be a mapping, not "q"
          Write `{every: 500}` or `{ema: 0.995}`.
        s.yaml:7:41  networks.e.follow
          `networks.e` has `follow`, and is no copy of a network that it could follow
          Write `e: {copy: NAME, follow: ...}`.
        s.yaml:8:25  networks.f.follow.evry
          `follow` has no field `evry`
          Did you mean `every`?
        s.yaml:9:25  networks.g.follow.every
          `every` must be above 0, not 0
          every: steps from one copy of all weights to the next.
        """
    )


def test_a_mistake_in_how_it_follows_is_the_only_one():
    with pytest.raises(SpecError) as error:
        trace_all(experiment_of(TEXT.replace("ema: 0.9", "ema: 1.5")))
    assert [problem.path for problem in error.value.problems] == ["networks.teacher.follow.ema"]


def test_a_phase_that_moves_a_follower_and_an_init_of_it_are_refused():
    text = """\
data: {moons: {train: 60, test: 8}}
networks:
  encoder: {layers: [linear: 2]}
  decoder: {copy: encoder, follow: {every: 5}}
objective: autoencoder
init: {decoder: he_normal}
train: {steps: 2}
"""
    with pytest.raises(SpecError) as error:
        trace_all(experiment_of(text))
    assert [one.message for one in error.value.problems] == [
        "the phase `train` of autoencoder moves `decoder`, which follows `encoder`",
        "`init` is for weights that are drawn, and `decoder` begins as `encoder`",
    ]


@pytest.mark.parametrize("other", ["{ema: 0.8}", "{every: 3}"])
def test_how_a_network_follows_is_a_setting_in_which_specs_differ(other):
    one, two = experiment_of(TEXT), experiment_of(TEXT.replace("{ema: 0.9}", other))
    found = diff(one, two).settings
    name, _, value = other.strip("{}").partition(": ")
    assert [(setting.key, setting.a, setting.b) for setting in found] == [
        ("networks.teacher.follow", {"ema": 0.9}, {name: float(value)})
    ]
    assert not diff(one, experiment_of(TEXT)).settings


def test_why_tells_where_it_is_said_how_a_network_follows(tmp_path):
    (tmp_path / "s.yaml").write_text(TEXT)
    told = dlx("why", "s.yaml", "networks.teacher.follow", cwd=tmp_path, check=True).stdout
    assert told.startswith("networks.teacher.follow holds 1 value")
    assert "ema  0.9    s.yaml:6:37" in told
