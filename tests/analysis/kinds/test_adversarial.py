"""Attacks on trained classifiers: of a linear one their size is known, and chance changes are no attack."""

import pytest
import torch
from helpers import experiment_of

from dlx.analysis.analyze import analyze, with_options
from dlx.analysis.kinds.adversarial import Adversarial
from dlx.analysis.measures.classifier import Classifier
from dlx.analysis.subject import of_run, of_runs, of_spec
from dlx.errors import SpecError

TWO = """
name: two
data: {moons: {train: 200, valid: 0, test: 100, standardize: feature}}
network: {layers: [{linear: 1}]}
objective: binary_classification
train: {epochs: 20, batch_size: 20, optimizer: {adam: 5e-2}, device: cpu}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    from dlx.experiment import runner

    return of_run(runner.run(experiment_of(TWO), tmp_path_factory.mktemp("two")).results[0].run)


def test_the_smallest_change_of_a_linear_classifier_is_its_distance_from_the_boundary(two):
    """|w.x + b| / ||w|| in the space before standardising, where the weights are w / scale (aima, section 22.5.1)."""
    found = Adversarial(attack="deepfool", examples=100).run(two)
    one, batch = Classifier.of(two), two.examples(100)
    weight, bias = one.network.linear_1.weight[0].detach(), one.network.linear_1.bias.detach()
    raw, w = one.space.to_raw(batch.inputs[0])[:, 0], weight / one.space.scale[0]
    b = bias - (weight * one.space.shift[0] / one.space.scale[0]).sum()
    logit = raw @ w + b
    right = (logit > 0).long() == batch["target"]
    by_hand = (logit.abs() / w.norm())[right].sort().values

    assert not torch.allclose(one.space.scale, torch.ones(1, 2)), "the data is standardised"
    assert found.figures["smallest_change"] == pytest.approx(float(by_hand[(len(by_hand) - 1) // 2]), rel=1e-3)
    assert found.figures["found"] == pytest.approx(found.figures["accuracy"]), "every right answer is turned"
    for size, accuracy, _ in found.table[1][1:]:
        expected = float((by_hand * 1.02 > size).sum()) / len(logit)
        assert accuracy == pytest.approx(expected, abs=0.011)


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_attacks_turn_answers_that_random_changes_of_the_size_leave(digits_run, attack):
    found = Adversarial(attack=attack, examples=100, steps=10).run(of_run(digits_run))
    accuracies = [row[1] for row in found.table[1]]

    assert found.figures["accuracy"] > 0.9
    assert found.figures["accuracy_least"] < 0.1
    assert found.figures["random_accuracy"] > 0.7, "the twin: the same size in random signs"
    assert found.figures["fooled"] > 0.9
    assert accuracies == sorted(accuracies, reverse=True)
    assert found.panels[1].marks[0].pictures, "examples are shown"


def test_many_small_steps_turn_more_answers_than_one(digits_run):
    subject = of_run(digits_run)
    one, many = (
        Adversarial(attack=attack, examples=200, steps=10, perturbations=[0.1]).run(subject)
        for attack in ("fgsm", "pgd")
    )

    assert many.figures["accuracy_least"] < one.figures["accuracy_least"]


def test_images_made_against_one_network_turn_another_s_answers_too(digits_run, linear_run):
    both = Adversarial(examples=200, steps=10, perturbations=[0.2]).run(of_runs([digits_run, linear_run])).figures
    alone = Adversarial(examples=200, steps=10, perturbations=[0.2]).run(of_run(linear_run)).figures

    assert both["transfer_before"] == alone["accuracy"]
    assert alone["accuracy_least"] < both["transfer_accuracy"] < alone["random_accuracy"] - 0.05


def test_what_an_attack_takes_is_of_all_examples_and_a_network_that_knows_none_loses_none(digits_run, untrained_run):
    """Of the few right answers of an untrained network an attack turns all: `fooled` does not tell them apart."""
    attacks = [Adversarial(attack=attack, examples=100, steps=10) for attack in ("pgd", "deepfool")]
    trained, untrained = ([one.run(of_run(run)).figures for one in attacks] for run in (digits_run, untrained_run))

    assert trained[0]["lost"] == pytest.approx(trained[0]["accuracy"] * trained[0]["fooled"])
    assert trained[0]["lost"] > 0.8
    assert trained[1]["found"] > 0.8
    assert untrained[0]["lost"] < 0.3
    assert untrained[1]["found"] == pytest.approx(untrained[1]["accuracy"])
    assert untrained[1]["found"] < 0.3
    assert untrained[0]["fooled"] > 0.8


STRICT = TWO.replace("objective: binary_classification", "objective: {binary_classification: {threshold: 0.9}}")


def test_the_class_of_one_logit_is_that_of_the_objective(two, tmp_path):
    """With a threshold of 0.9 fewer points are of class 1, as the objective's own accuracy counts them."""
    from dlx.experiment import runner

    result = runner.run(experiment_of(STRICT), tmp_path).results[0]
    strict = of_run(result.run)
    one, batch = Classifier.of(strict), strict.examples(100)
    raw = one.space.to_raw(batch.inputs[0])
    sure = one.probabilities(raw)[:, 1] > 0.9

    assert torch.equal(one.predicted(raw), sure.long())
    assert 0 < sure.sum() < Classifier.of(two).predicted(raw).sum()
    found = Adversarial(attack="deepfool", examples=100, perturbations=[0.01, 9]).run(strict).figures
    assert found["accuracy"] == pytest.approx(result.metrics["test/accuracy"])
    assert found["found"] == pytest.approx(found["accuracy"])
    assert found["lost"] == pytest.approx(found["accuracy"])


OTHERS = {
    "regression": (
        "data: {synthetic: {shape: [2], target: [1]}}\nnetwork: {layers: [{linear: 1}]}\nobjective: regression",
        "other is no classifier of examples: its objective is `regression`",
    ),
    "no data": (
        "network: {inputs: [2], layers: [{linear: 2}]}",
        "this analysis looks at examples with their classes, and other names no `data`",
    ),
    "whole numbers": (
        "network: {inputs: {text: {shape: [4], dtype: int}}, layers: [{one_hot: 5}]}",
        "this analysis changes inputs by their gradient, and `text` takes whole numbers",
    ),
    "two inputs": (
        "network: {inputs: {a: [2], b: [2]}, layers: [{add: , from: [a, b]}]}",
        "this analysis changes the one input of a network, and other takes `a` and `b`",
    ),
    "two networks": (
        "networks: {one: {inputs: [2], layers: [{linear: 2}]}, two: {inputs: [2], layers: [{linear: 2}]}}",
        "this analysis looks at one `network`, and other has `one`, `two`",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_classifies_no_examples_is_refused(other):
    text, sentence = OTHERS[other]
    (problem,) = Adversarial().problems(of_spec(experiment_of(f"name: other\n{text}")))

    assert problem.message == sentence


def test_weights_that_are_not_trained_are_refused():
    with pytest.raises(SpecError, match="looks at trained weights, and two is a spec"):
        analyze(with_options("adversarial"), of_spec(experiment_of(TWO)))


def test_networks_of_other_data_are_no_target_of_a_transfer(digits_run, two):
    (problem,) = Adversarial().problems(of_runs([digits_run, two.runs[0]]))

    assert "takes (2,) and has 2 classes" in problem.message
    assert "(1, 8, 8) and 10" in problem.message
