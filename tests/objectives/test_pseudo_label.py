"""Pseudo-labels by hand; over the seeds they help, and those of an untrained teacher do not."""

import math

import pytest
import torch
from helpers import SHIPPED, experiment_of
from safetensors.torch import load_file
from scipy.stats import ttest_rel
from torch.nn import functional as F

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.objectives.pseudo_label import PseudoLabel
from dlx.spec import load

UNTRAINED = ["objective.pseudo_label.threshold=0", "stages.teacher.train={steps: 1, optimizer: {sgd: 1e-20}}"]
SPEC = """\
name: p
data: {synthetic: {shape: [6], classes: 3, train: 96, valid: 32, labelled: {count: 12}}}
networks:
  teacher: {from: first}
  student: {layers: [{dropout: 0.2}, {linear: 16}, relu, {linear: 3}]}
objective: {pseudo_label: {threshold: 0.5}}
train: {epochs: 3, batch_size: 16, save_every: 1, log_every: 1, optimizer: {adam: 1e-2}}
track: {mlflow: false}
stages:
  - name: first
    data: {synthetic: {labelled: {others: drop}}}
    network: {layers: [{linear: 16}, relu, {linear: 3}]}
    objective: classification
    train: {batch_size: 6}
  - name: second
"""


def called(method, student, teacher, target, **options):
    def call(network, x):
        return {"student": student, "teacher": teacher}[network]

    batch = Batch({"input": torch.zeros(len(target), 1), "target": torch.tensor(target)})
    return getattr(PseudoLabel(**options), method)(*["student"] * (method == "terms"), call, batch, torch.Generator())


def test_the_loss_of_three_examples_by_hand():
    # one with its class, one that the teacher is sure of (3/4), one that it is not (1/2)
    teacher = torch.tensor([[9.0, 0.0], [0.0, math.log(3)], [0.0, 0.0]])
    student = torch.tensor([[math.log(4), 0.0], [math.log(2), 0.0], [5.0, 0.0]])
    found = called("terms", student, teacher, [1, -100, -100], threshold=0.75 - 1e-6, weight=0.5)
    assert float(found["cross_entropy"]) == pytest.approx(math.log(5))  # -log(1/5)
    # -log(1/3) of the one, over both without a class
    assert float(found["pseudo_label"]) == pytest.approx(0.5 * math.log(3) / 2)
    unsure = called("terms", student, teacher, [1, -100, -100], threshold=0.76, weight=0.5)
    assert float(unsure["pseudo_label"]) == 0


def test_all_with_classes_or_none_leave_a_finite_loss():
    student, teacher = torch.randn(4, 3), torch.randn(4, 3)
    labelled = called("terms", student, teacher, [0, 1, 2, 0], threshold=0)
    torch.testing.assert_close(labelled["cross_entropy"], F.cross_entropy(student, torch.tensor([0, 1, 2, 0])))
    assert float(labelled["pseudo_label"]) == 0
    unlabelled = called("terms", student, teacher, [-100] * 4, threshold=0)
    assert float(unlabelled["cross_entropy"]) == 0
    torch.testing.assert_close(unlabelled["pseudo_label"], F.cross_entropy(student, teacher.argmax(1)))


def test_no_gradient_goes_to_the_teacher_and_none_from_what_it_is_not_sure_of():
    student, teacher = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    middle = float(teacher.detach().softmax(1).max(1)[0].median())
    found = called("terms", student, teacher, [-100] * 5, threshold=middle)
    sum(found.values()).backward()
    assert teacher.grad is None
    assert int((student.grad.abs().sum(1) > 0).sum()) == 3


def test_metrics_are_over_the_examples_that_have_a_class():
    student = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    found = called("evaluate", student, student.flip(1), [0, -100, 0])
    assert (float(found["accuracy"]), float(found["agreement"])) == (0.5, 0.0)
    assert PseudoLabel().counted(Batch({"input": torch.zeros(3, 1), "target": torch.tensor([0, -100, 0])})) == 2


def final(folder):
    return load_file(folder / "checkpoints" / "final.safetensors")


def test_the_training_part_is_measured_where_it_has_classes(tmp_path):
    found = runner.run(experiment_of(SPEC), tmp_path).results[0]
    assert found.metrics["train/accuracy"] * 12 == pytest.approx(round(found.metrics["train/accuracy"] * 12))
    assert {"train/cross_entropy", "train/pseudo_label"} <= {
        name.replace("student/", "") for record in found.run.records() for name in record.get("metrics", {})
    }


@pytest.mark.parametrize("step", [5, 13])
def test_cut_off_in_its_second_stage_it_goes_on_to_the_same_bits(tmp_path, step):
    begun = []

    def callback(event):
        begun.append(getattr(event, "stage", ""))
        if "second" in begun and getattr(event, "record", "") == "step" and event.step == step:
            raise KeyboardInterrupt

    whole = final(runner.run(experiment_of(SPEC), tmp_path).results[0].run.dir)
    cut = runner.run(experiment_of(SPEC), tmp_path, callback).results[0]
    assert cut.status == "stopped"
    _, ended = runner.resume(cut.run)
    again = final(ended.results[0].run.dir)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threshold: 0.5", "threshold: 1.5", "`threshold` must be at most 1, not 1.5"),
        ("threshold: 0.5", "weight: -1", "`weight` must be at least 0, not -1"),
        ("student: {layers", "pupil: {layers", "pseudo_label wants `student`"),
        ("labelled: {count: 12}", "labelled: {others: drop}", "`count` is missing"),
    ],
)
def test_a_mistake_is_a_sentence(old, new, message):
    with pytest.raises(SpecError) as raised:
        trace_all(experiment_of(SPEC.replace(old, new, 1)))
    assert any(message in problem.message for problem in raised.value.problems)


def accuracies(tmp_path, *changes):
    results = runner.run(load(SHIPPED["zoo/pseudo-labels"], ["track.mlflow=false", *changes]), tmp_path).results
    return [one.metrics["test/accuracy"] for one in results]


@pytest.mark.slow
def test_pseudo_labels_help_over_the_seeds_and_those_of_an_untrained_teacher_do_not(tmp_path):
    helped, alone = accuracies(tmp_path), accuracies(tmp_path, "objective.pseudo_label.weight=0")
    assert ttest_rel(helped, alone).confidence_interval(0.95).low > 0
    # its teacher, which has the same layers without noise on the inputs and the same 40 examples
    assert ttest_rel(helped, accuracies(tmp_path, "~stages.student")).confidence_interval(0.95).low > 0
    untrained = accuracies(tmp_path, *UNTRAINED)
    assert ttest_rel(alone, untrained).confidence_interval(0.95).low > 0
