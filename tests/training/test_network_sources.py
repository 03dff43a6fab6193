"""Networks with the layers and weights of a run or of an earlier stage: `networks: {teacher: {from: RUN}}`."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import graph_of
from safetensors.torch import load_file

from dlx.errors import DlxError, SpecError
from dlx.experiment import runner
from dlx.experiment.recorder import RunRecorder
from dlx.experiment.session import Session, new_run, train_run
from dlx.graph import trace_all
from dlx.network import build
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.trained import evaluate, predict, prove_resume, reproduce
from dlx.training.checkpoints.checkpoint import restore_all
from dlx.training.prepared import prepare

TEACHER = """\
dlx: 1
name: teacher
vars: {width: 12}
data: {digits: {train: 60, valid: 0.1, test: 0.5}}
network: {layers: [flatten, {linear: "${width}"}, batch_norm, relu, {linear: 10}]}
train: {epochs: 3, batch_size: 20, optimizer: {adam: 1e-2}}
track: {mlflow: false}
"""
STUDENT = """\
dlx: 1
name: student
data: {digits: {train: 60, valid: 0.1, test: 0.5}}
networks:
  teacher: {from: SOURCE}
  student: {layers: [flatten, {linear: 6}, {dropout: 0.2}, relu, {linear: 10}]}
objective: distillation
train: {epochs: 3, batch_size: 20, optimizer: {student: {adam: 1e-2}}, save_every: 2, log_every: 1}
track: {mlflow: false}
"""
STAGES = """\
stages:
  - name: first
    network: {layers: [flatten, {linear: 12}, batch_norm, relu, {linear: 10}]}
    objective: classification
    train: {optimizer: {adam: 1e-2}}
  - name: distil
"""


@pytest.fixture
def teacher(tmp_path):
    (tmp_path / "t.yaml").write_text(TEACHER)
    return runner.run(load(tmp_path / "t.yaml"), tmp_path / "runs").results[0].run


def student(tmp_path, source, *changes, more=""):
    path = tmp_path / "s.yaml"
    path.write_text(STUDENT.replace("SOURCE", str(source)) + more)
    return load(path, list(changes))


def refusal(tmp_path, *args, **options):
    """What is said of a spec that cannot be trained."""
    with pytest.raises(DlxError) as error:
        runner.run(student(tmp_path, *args, **options), tmp_path / "runs")
    return [
        (p.message.replace(str(tmp_path), ""), p.hint, p.mark.line if p.mark else 0) for p in error.value.problems
    ]


def test_a_teacher_counts_as_a_network_that_is_not_trained(tmp_path, teacher):
    graphs = trace_all(student(tmp_path, teacher.dir))
    assert graphs["teacher"].params == 64 * 12 + 12 + 24 + 12 * 10 + 10
    assert (graphs["teacher"].trainable, graphs.trainable) == (0, graphs["student"].params)
    document = graphs.as_json()
    assert document["networks"]["teacher"]["from"] == {"run": str(teacher.dir), "network": "network"}
    assert "from" not in document["networks"]["student"]


def test_its_weights_do_not_move_and_are_in_the_lock_and_in_no_checkpoint(tmp_path, teacher):
    before = (teacher.dir / "checkpoints/final.safetensors").read_bytes()
    run = runner.run(student(tmp_path, teacher.dir), tmp_path / "runs").results[0].run
    assert (teacher.dir / "checkpoints/final.safetensors").read_bytes() == before
    saved = [key for path in (run.dir / "checkpoints").glob("*.safetensors") for key in load_file(path)]
    assert any(key.startswith("student.") for key in saved)
    assert not any(key.startswith("teacher.") for key in saved)
    digest = json.loads((teacher.dir / "checkpoints/final.json").read_text())["sha256"]
    assert run.lock()["networks"] == {
        "teacher": {"source": str(teacher.dir / "checkpoints/final.safetensors"), "digest": digest}
    }
    assert list(restore_all(run.dir)) == ["student"]
    assert reproduce.reproduce(run, tmp_path / "again").verdict == "bitwise equal"


def test_the_student_learns_what_the_teacher_answers_in_evaluation_mode(tmp_path, teacher):
    run = runner.run(student(tmp_path, teacher.dir), tmp_path / "runs").results[0].run
    metrics = evaluate.evaluate([run], "final", ["test"]).metrics
    test = load(tmp_path / "t.yaml").data.load().test
    x, y = torch.from_numpy(np.ascontiguousarray(test.x)), torch.from_numpy(test.y)
    with torch.no_grad():
        (small, _), (large, _) = restore_all(run.dir)["student"], restore_all(teacher.dir)["network"]
        answers, wanted = small(x), large(x)
    assert metrics["test/accuracy"] == pytest.approx(float((answers.argmax(1) == y).float().mean()), abs=1e-6)
    same = (answers.argmax(1) == wanted.argmax(1)).float().mean()
    assert metrics["test/agreement"] == pytest.approx(float(same), abs=1e-6)
    large.train()
    assert float((answers.argmax(1) == large(x).argmax(1)).float().mean()) != pytest.approx(float(same), abs=1e-6)


def test_the_student_begins_as_it_would_alone(tmp_path, teacher):
    changes = ["objective.distillation.alpha=0", "train.epochs=1", "train.optimizer.student.adam.lr=1e-30"]
    run = runner.run(student(tmp_path, teacher.dir, *changes), tmp_path / "runs").results[0].run
    torch.manual_seed(0)
    alone = build(graph_of("network: {inputs: [1, 8, 8], layers: [flatten, linear: 6, relu, linear: 10]}"))
    final = load_file(run.dir / "checkpoints/final.safetensors")
    torch.testing.assert_close(final["student.linear_1.weight"], alone.linear_1.weight.detach())


def test_predictions_are_the_students_and_take_no_teacher(tmp_path, teacher):
    run = runner.run(student(tmp_path, teacher.dir), tmp_path / "runs").results[0].run
    x = load(tmp_path / "t.yaml").data.load().test.x[:5]
    network, _ = restore_all(run.dir)["student"]
    shutil.rmtree(teacher.dir)
    answers = predict.predict(run, x)
    with torch.no_grad():
        wanted = network(torch.from_numpy(np.ascontiguousarray(x))).softmax(1)
    np.testing.assert_allclose(answers.probabilities, wanted.numpy(), atol=1e-6)


def test_a_teacher_that_has_changed_or_is_gone_is_told(tmp_path, teacher):
    run = runner.run(student(tmp_path, teacher.dir), tmp_path / "runs").results[0].run
    other = runner.run(load(tmp_path / "t.yaml", ["train.seed=1"]), tmp_path / "runs").results[0].run
    for name in ("final.json", "final.safetensors"):
        shutil.copy(other.dir / "checkpoints" / name, teacher.dir / "checkpoints" / name)
    with pytest.raises(DlxError, match=r"the network `teacher` that student/.* was trained with has changed"):
        evaluate.evaluate([run])
    shutil.rmtree(teacher.dir)
    with pytest.raises(DlxError, match="there is no run"):
        evaluate.evaluate([run])


def test_a_run_that_goes_on_with_another_teacher_is_refused(tmp_path, teacher):
    prepared = prepare(student(tmp_path, teacher.dir))
    recorder = RunRecorder(new_run(prepared, tmp_path / "runs"))
    assert train_run(recorder, prepared, Session(until=4)).status != "finished"
    folder = recorder.folder.dir
    other = runner.run(load(tmp_path / "t.yaml", ["train.seed=1"]), tmp_path / "runs").results[0].run
    kept = {name: (teacher.dir / "checkpoints" / name).read_bytes() for name in ("final.json", "final.safetensors")}
    for name in kept:
        shutil.copy(other.dir / "checkpoints" / name, teacher.dir / "checkpoints" / name)
    for _ in range(2):  # the lock keeps the digest through a refusal
        with pytest.raises(DlxError, match="the digest of its weights was"):
            runner.resume(RunFolder(folder))
    for name, text in kept.items():
        (teacher.dir / "checkpoints" / name).write_bytes(text)
    _, ended = runner.resume(RunFolder(folder))
    assert ended.results[0].status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", STAGES])
def test_killed_trainings_go_on_to_the_same_bits(tmp_path, teacher, more):
    source = "first" if more else teacher.dir
    student(tmp_path, source, more=more)
    with prove_resume.retained_on_failure() as home:
        proof = prove_resume.prove(tmp_path / "s.yaml", ["++train.seeds=2"], home, kills=3, steps=18)
    assert proof.equal, proof.as_json()


def test_an_earlier_stage_may_be_the_teacher(tmp_path):
    experiment = student(tmp_path, "first", more=STAGES)
    run = runner.run(experiment, tmp_path / "runs").results[0].run
    assert list(restore_all(run.dir)) == ["student"]
    first = json.loads((run.dir / "checkpoints/first/final.json").read_text())["sha256"]
    assert run.lock()["networks"]["teacher"]["digest"] == first
    assert run.lock()["stages"]["distil"]["networks"]["teacher"]["digest"] == first
    metrics = evaluate.evaluate([run], parts=["test"]).metrics
    assert metrics["test/loss"] == run.end()["metrics"]["test/loss"]


def test_a_student_is_the_teacher_of_another(tmp_path, teacher):
    run = runner.run(student(tmp_path, teacher.dir), tmp_path / "runs").results[0].run
    graphs = trace_all(student(tmp_path, run.dir, "+networks.teacher.network=student"))
    assert graphs["teacher"].params == 64 * 6 + 6 + 6 * 10 + 10
    ((message, hint, line),) = refusal(tmp_path, run.dir)
    assert message.endswith("has the networks `teacher`, `student`")
    assert (hint, line) == ("Say which: `teacher: {from: ..., network: student}`.", 5)
    ((message, _, _),) = refusal(tmp_path, run.dir, "+networks.teacher.network=teacher")
    assert message.endswith("`teacher` is not trained there")


def test_shapes_and_classes_are_checked_with_both_lines(tmp_path, teacher):
    narrow = "networks.student.layers.linear_2.linear=9"
    ((message, hint, line),) = refusal(tmp_path, teacher.dir, narrow)
    assert message == (
        "the network `student` ends in (9,), and distillation takes (10,), as the data has classes (/s.yaml:3:1)"
    )
    assert (hint, line) == ("Let its last layer be `linear: 10`.", 6)
    classes = "data={digits: {classes: [0, 1, 2, 3, 4], train: 60}}"
    found = refusal(tmp_path, teacher.dir, classes)
    assert {message.split(",")[0] for message, _, _ in found} == {
        "the network `teacher` ends in (10", "the network `student` ends in (10"
    }  # fmt: skip
    wide = "data={synthetic: {shape: [1, 9, 9], classes: 10, train: 60}}"
    ((message, hint, line),) = refusal(tmp_path, teacher.dir, wide)
    assert message.startswith("distillation gives `teacher` (1, 9, 9) as `input`, the field `input` of the data (")
    assert message.endswith("and that input is (1, 8, 8)")
    assert (hint, line) == ("Take a run that was trained on such data.", 5)


def test_other_classes_of_the_same_number_are_told(tmp_path):
    text = TEACHER.replace("train: 60", "classes: [0, 1, 2], train: 60").replace("linear: 10}]", "linear: 3}]")
    (tmp_path / "t.yaml").write_text(text)
    run = runner.run(load(tmp_path / "t.yaml"), tmp_path / "runs").results[0].run
    changes = ["data={digits: {classes: [3, 1, 2], train: 60}}", "networks.student.layers.linear_2.linear=3"]
    ((message, hint, line),) = refusal(tmp_path, run.dir, *changes)
    assert message.startswith("`teacher` was trained on the classes 0, 1, 2, and the data has 3, 1, 2 (")
    assert (hint, line) == ("Take data with the same classes in the same order.", 5)


def test_inputs_that_were_preprocessed_otherwise_are_noted(tmp_path, teacher):
    notes = []
    experiment = student(tmp_path, teacher.dir, "+data.digits.standardize=all")
    runner.run(experiment, tmp_path / "runs", lambda event: notes.extend(getattr(event, "notes", ())))
    note = "`teacher` was trained on inputs that were preprocessed otherwise: not at all and standardize"
    assert note in notes
    notes.clear()
    runner.run(student(tmp_path, teacher.dir), tmp_path / "runs", lambda e: notes.extend(getattr(e, "notes", ())))
    assert not any("preprocessed" in one for one in notes)


WRONG = {
    "SOURCE}": "there is no run `SOURCE`",
    "5}": "`from` must be a word, not 5",
    "RUN, layers: [relu]}": "`networks.teacher` has `layers` beside `from`, which brings layers and inputs",
    "RUN, checkpoint: best-1}": "has no checkpoint `best-1`",
    "RUN, width: 3}": "`teacher` has no field `width`",
}


@pytest.mark.parametrize("written", WRONG)
def test_what_is_no_run_is_told_at_its_place(tmp_path, teacher, written):
    path = tmp_path / "s.yaml"
    path.write_text(STUDENT.replace("SOURCE}", written.replace("RUN", str(teacher.dir))))
    with pytest.raises(SpecError) as error:
        trace_all(load(path))
    found = error.value.problems[0]
    assert WRONG[written] in found.message.replace(str(tmp_path / "SOURCE"), "SOURCE")
    assert found.mark.line == 5


def test_a_network_of_a_run_has_no_optimizer(tmp_path, teacher):
    changes = ["+train.optimizer.teacher.sgd=0.1"]
    ((message, hint, _),) = refusal(tmp_path, teacher.dir, *changes)
    assert message == "the network `teacher` has an optimizer, and no phase of `distillation` trains it"
    assert hint == "Leave it out."
