"""Stages: trainings one after the other in one run, each from the weights of the one before."""

import json

import pytest
import torch
from safetensors.torch import load_file

from dlx.errors import DlxError, SpecError
from dlx.experiment import packing, runner
from dlx.experiment.recorder import TrainingStarted
from dlx.experiment.stages import prepared_stages
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.track import content
from dlx.trained import evaluate, prove_resume, reproduce

SPEC = """\
dlx: 1
name: NAME
data: {synthetic: {shape: [6], classes: 4, train: 96, valid: 32}}
blocks: {body: {layers: [{linear: 8}, batch_norm, relu, {dropout: 0.2}]}}
network: {layers: [{body: , name: trunk}, {linear: 4, name: head}]}
train: {batch_size: 16, epochs: 2, log_every: 1, save_every: 2}
track: {mlflow: false}
"""
STAGES = """\
stages:
  - {name: pretrain, train: {steps: 9}}
  - name: tune
    data: {synthetic: {classes: 3, seed: 7}}
    network: {layers: [{body: , name: trunk}, {linear: 3, name: fine}]}
    freeze: [{match: trunk, until: {step: 5}}]
"""


def written(tmp_path, more=STAGES, name="s"):
    path = tmp_path / f"{name}.yaml"
    path.write_text(SPEC.replace("NAME", name) + more)
    return path


def trained(tmp_path, *changes, more=STAGES, name="s", callback=None):
    return runner.run(load(written(tmp_path, more, name), changes), tmp_path / "runs", callback).results


def final(run: RunFolder, stage=""):
    return load_file(run.dir / "checkpoints" / stage / "final.safetensors")


def curve(run: RunFolder):
    kept = ("record", "step", "epoch", "stage", "metrics")
    return [{key: one.get(key) for key in kept} for one in run.records() if one["record"] not in {"start", "end"}]


def test_it_is_the_training_of_each_stage_by_itself_from_the_weights_of_the_one_before(tmp_path):
    staged = trained(tmp_path)[0].run
    first = trained(tmp_path, "~train.epochs", "++train.steps=9", more="", name="alone")[0].run
    assert all(torch.equal(final(first)[name], final(staged, "pretrain")[name]) for name in final(first))
    tuned = [
        "data={synthetic: {shape: [6], classes: 3, train: 96, valid: 32, seed: 7}}",
        "network.layers.head=3",
        f"+weights={{from: {first.dir}, only: [trunk]}}",
        "+freeze=[{match: trunk, until: {step: 5}}]",
    ]
    second = trained(tmp_path, *tuned, more="", name="alone")[0].run
    one, other = final(second), final(staged)
    assert all(torch.equal(one[name], other[name.replace("head", "fine")]) for name in one)
    # the broken twin: without the first stage it is another training
    assert not torch.equal(one["trunk.linear_1.weight"], final(first)["trunk.linear_1.weight"])
    untrained = final(trained(tmp_path, *tuned[:2], *tuned[3:], more="", name="twin")[0].run)
    assert not torch.equal(one["trunk.linear_1.weight"], untrained["trunk.linear_1.weight"])


def test_curves_have_the_stage_and_the_steps_of_the_run_and_metrics_are_of_the_last(tmp_path):
    (result,) = trained(tmp_path)
    run, points = result.run, [one for one in curve(result.run) if one["record"] == "step"]
    assert [(one["stage"], one["step"]) for one in points] == [
        *(("pretrain", step) for step in range(1, 10)),
        *(("tune", step) for step in range(10, 22)),
    ]
    assert (result.steps, run.end()["step"], run.end()["status"]) == (21, 21, "finished")
    last = [one for one in curve(run) if one["record"] == "evaluation"][-1]
    assert last["stage"] == "tune"
    assert {key: run.end()["metrics"][key] for key in last["metrics"]} == last["metrics"]
    assert [one["stage"] for one in curve(run) if one["record"] == "stage"] == ["pretrain"]
    assert json.loads((run.dir / "lock.json").read_text())["stages"].keys() == {"pretrain", "tune"}
    record = next(record for record in run.records() if record["record"] == "step")
    assert {key for key, *_ in content.points(record, {})} == {"pretrain/train/running_loss", "pretrain/lr"}
    assert evaluate.evaluate([run]).metrics["valid/loss"] == pytest.approx(last["metrics"]["valid/loss"])


def test_what_goes_on_and_what_is_drawn_is_noted(tmp_path):
    notes: dict[str, tuple[str, ...]] = {}

    def callback(event):
        if isinstance(event, TrainingStarted):
            notes[event.stage] = event.notes

    trained(tmp_path, callback=callback)
    assert notes["pretrain"] == ()
    assert notes["tune"][0].startswith("weights: 7 tensors (89 values) of ")
    assert notes["tune"][0].endswith("/pretrain/final.safetensors; as `init` draws them: fine")


class Killed(BaseException):
    """Stands for a kill: nothing gets to clean up."""


def cut_off(tmp_path, moment, *changes):
    """The runs of a spec that is cut off as its `moment` comes."""
    runs = tmp_path / "cut"
    with pytest.raises(Killed):
        runner.run(load(written(tmp_path), changes), runs, moment)
    found = [RunFolder(folder) for folder in sorted((runs / "s").iterdir())]
    for run in found:
        lines = (run.dir / "metrics.jsonl").read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(b'{"record":"end"')]
        (run.dir / "metrics.jsonl").write_bytes(b"".join(kept))
        if lock := run.read_json("lock.json"):
            run.write_json("lock.json", lock | {"pid": 2**22 + 1})
    return [RunFolder(run.dir) for run in found]


def at_step(step, stage):
    seen = []

    def callback(event):
        seen.extend([event.stage] if isinstance(event, TrainingStarted) else [])
        if getattr(event, "record", "") == "step" and event.step == step and seen[-1] == stage:
            raise Killed

    return callback


def as_it_starts(stage):
    def callback(event):
        if isinstance(event, TrainingStarted) and event.stage == stage:
            raise Killed

    return callback


@pytest.mark.parametrize(
    "moment",
    [
        as_it_starts("pretrain"),
        at_step(4, "pretrain"),
        at_step(9, "pretrain"),
        as_it_starts("tune"),
        at_step(3, "tune"),
        at_step(8, "tune"),
    ],
    ids=["start", "in the first", "at its end", "between", "in the second", "after its freeze"],
)
@pytest.mark.parametrize("seeds", [1, 2])
def test_killed_anywhere_it_goes_on_to_the_same_bits(tmp_path, moment, seeds):
    changes = [f"++train.seeds={seeds}"]
    whole = trained(tmp_path, *changes)
    assert bool(whole[0].run.lock().get("packed")) == (seeds == 2)
    for one, run in zip(whole, cut_off(tmp_path, moment, *changes), strict=True):
        _, ended = runner.resume(run)
        assert ended.results[0].status == "finished"
        assert curve(run) == curve(one.run)
        for stage in ("", "pretrain"):
            ours, theirs = final(one.run, stage), final(run, stage)
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_seeds_that_memory_does_not_hold_at_once_say_why_and_what_was_packed_is_reproduced_so(tmp_path, monkeypatch):
    packed = trained(tmp_path, "++train.seeds=2")[1].run
    monkeypatch.setattr(packing, "beyond_memory", lambda _, count: f"{count} trainings want more than there is")
    events = []
    found = trained(tmp_path, "++train.seeds=2", callback=events.append)
    assert [(one.run.lock().get("packed"), one.run.lock()["way"]["step"] == "packed") for one in found] == [
        (None, False)
    ] * 2
    told = [note for event in events if isinstance(event, TrainingStarted) for note in event.notes]
    assert told.count("2 trainings want more than there is: the trainings come one after the other.") == 2
    assert reproduce.reproduce(packed, tmp_path / "again").verdict == "bitwise equal"


def test_it_is_reproduced_and_other_data_of_an_earlier_stage_is_refused(tmp_path):
    run = trained(tmp_path)[0].run
    assert reproduce.reproduce(run, tmp_path / "again").verdict == "bitwise equal"
    text = run.file("spec.yaml").read_text()
    run.write_text("spec.yaml", text.replace("train: 96", "train: 98"))
    with pytest.raises(DlxError, match="has changed: its digest was"):
        reproduce.reproduce(RunFolder(run.dir), tmp_path / "again")


@pytest.mark.slow
def test_killed_by_the_system_it_goes_on_to_the_same_bits(tmp_path):
    with prove_resume.retained_on_failure() as home:
        proof = prove_resume.prove(written(tmp_path), ["++train.seeds=2"], home, kills=3, steps=20)
    assert (proof.equal, proof.steps) == (True, 19)


def test_an_empty_freeze_lets_all_move_again(tmp_path):
    stages = "freeze: [trunk]\nstages: [{name: a, train: {steps: 3}}, {name: b, freeze: [], train: {steps: 3}}]\n"
    run = trained(tmp_path, more=stages)[0].run
    first, last = final(run, "a"), final(run)
    torch.manual_seed(0)
    assert not torch.equal(first["head.weight"], last["head.weight"])
    assert not torch.equal(first["trunk.linear_1.weight"], last["trunk.linear_1.weight"])
    held = trained(tmp_path, "stages.b.freeze=[trunk]", more=stages)[0].run
    assert torch.equal(final(held, "a")["trunk.linear_1.weight"], final(held)["trunk.linear_1.weight"])


def test_overrides_call_stages_by_their_names_and_a_wrong_one_is_told(tmp_path):
    (result,) = trained(tmp_path, "stages.pretrain.train.steps=2", "stages.1.freeze=[]")
    assert result.steps == 14
    with pytest.raises(SpecError, match=r"there is no stage `tuned` to override") as told:
        trained(tmp_path, "stages.tuned.freeze=[]")
    assert told.value.problems[0].hint == "Did you mean `tune`?"


def test_other_shapes_are_told_with_both_before_anything_is_trained(tmp_path):
    stages = STAGES.replace("fine", "head")
    with pytest.raises(SpecError) as told:
        trained(tmp_path, more=stages)
    assert [one.message for one in told.value.problems] == [
        "`head/weight` has shape (4, 8) in the stage `pretrain` and (3, 8) in `tune`",
        "`head/bias` has shape (4,) in the stage `pretrain` and (3,) in `tune`",
    ]
    assert told.value.problems[0].mark.line == 12
    assert "`{name: head_2, ...}`" in told.value.problems[0].hint
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ("stages: {}", "`stages` must be a list of 1 to 100 stages, not {}"),
        ("stages: [a]", 'a stage must be a mapping, not "a"'),
        ("stages: [{train: {steps: 3}}]", "a stage has no `name`"),
        ("stages: [{name: a/b}]", "a stage cannot be called `a/b`"),
        ("stages: [{name: valid}]", "a stage cannot be called `valid`"),
        ("stages: [{name: a}, {name: a}]", "two stages are called `a`"),
        ("stages: [{name: a, expect: {params: 3}}]", "a stage has no `expect`"),
        ("stages: [{name: a, train: {seed: 3}}]", "`seed` is one for all stages, and stands in one"),
        ("stages: [{name: a, train: {stepz: 3}}]", "`train` has no field `stepz`"),
        ("stages: [{name: a, freeze: [tronk]}, {name: b}]", '`freeze` matches no node: "tronk"'),
        ("stages: [{name: a, weights: {from: x.pt}}, {name: b}]", "there is no file or run `x.pt`"),
    ],
)
def test_a_wrong_stage_is_a_sentence_at_its_place(tmp_path, stages, message):
    with pytest.raises(SpecError) as told:
        prepared_stages(load(written(tmp_path, f"{stages}\n")))
    (problem,) = told.value.problems
    assert problem.message.startswith(message)
    assert problem.mark.line == 8


def test_paths_of_a_stage_begin_at_its_file(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "rows.csv").write_text("a,b\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    stage = "stages: [{name: a, data: {table: {path: rows.csv, target: b}}, network: {layers: [{linear: 2}]}}]\n"
    experiment = load(written(tmp_path / "deep", stage))
    assert str(tmp_path / "deep" / "rows.csv") in experiment.resolved()


def test_an_ensemble_of_stages_is_refused(tmp_path):
    with pytest.raises(SpecError, match="an ensemble of a spec with `stages` comes later"):
        trained(tmp_path, "++train.ensemble=2")
