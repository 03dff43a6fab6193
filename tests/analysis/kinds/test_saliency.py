"""Saliency, Grad-CAM and occlusion on trained classifiers: what they call important is."""

import numpy as np
import pytest
import torch
from helpers import experiment_of

from dlx.analysis.kinds.attribution import GradCAM, Occlusion, Saliency, _rank_correlation
from dlx.analysis.measures.classifier import Classifier
from dlx.analysis.subject import of_run, of_spec
from dlx.experiment import runner

CAM = """
name: cam
data: {digits: {valid: 0, test: 0.2}}
network:
  layers:
    - conv: {out_channels: 12, kernel_size: 3, padding: 1}
    - relu
    - global_avg_pool
    - linear: {out_features: 10, bias: false}
train: {steps: 100, optimizer: {adam: 2e-2}, device: cpu}
track: {mlflow: false}
"""


@pytest.mark.parametrize(
    "kind",
    [
        Saliency(examples=64),
        Saliency(examples=64, method="integrated", steps=20),
        Saliency(examples=64, method="input_times_gradient"),
        Saliency(examples=64, method="smooth", steps=10),
        Saliency(examples=64, method="guided"),
        Occlusion(examples=64, window=2),
    ],
    ids=lambda one: getattr(one, "method", one.kind),
)
def test_what_a_map_calls_important_is(digits_run, kind):
    """Deleting it takes more of the answer than deleting as much at random."""
    found = kind.run(of_run(digits_run))

    assert found.figures["deletion"] > found.figures["random_deletion"] + 0.05
    assert len(found.panels[1].marks[0].pictures) == 16


def test_maps_depend_on_what_was_learned(digits_run):
    """Their rank correlation with those of weights drawn anew is small; with themselves it is 1."""
    plain = Saliency(examples=64).run(of_run(digits_run)).figures
    maps = torch.rand(3, 4, 4)

    assert abs(plain["similarity_redrawn"]) < 0.5
    assert _rank_correlation(maps, maps * 2 + 1) == pytest.approx(1)
    assert _rank_correlation(maps, -maps) == pytest.approx(-1)


def test_a_map_that_is_turned_round_is_worse_than_random_order(digits_run, monkeypatch):
    """The twin of the test by deletion: the least important positions first."""
    subject, kind = of_run(digits_run), Occlusion(examples=64, window=2)
    right = kind.run(subject).figures["above_random"]
    monkeypatch.setattr(Occlusion, "maps", lambda self, *args, maps=Occlusion.maps: -maps(self, *args))
    turned = kind.run(subject).figures["above_random"]

    assert right > 0.05
    assert turned < 0


def test_a_network_that_has_learned_nothing_has_no_accuracy_to_lose(digits_run, untrained_run):
    """Its probability falls where its maps point as well, so `above_random` does not tell the two apart."""
    kind = Saliency(examples=200, method="integrated", steps=20)
    trained, untrained = (kind.run(of_run(run)).figures for run in (digits_run, untrained_run))

    assert trained["accuracy_above_random"] > 0.2
    assert untrained["accuracy_above_random"] < 0.1 < untrained["above_random"]


def test_integrated_gradients_are_complete_and_few_points_are_not(digits_run):
    subject = of_run(digits_run)
    many, one = (Saliency(method="integrated", steps=n, examples=32).run(subject).figures for n in (100, 1))

    assert many["completeness_error"] < 0.01 < one["completeness_error"]


def test_the_saliency_of_a_linear_classifier_is_its_weights(linear_run):
    """|w_k| of the answer k, before preprocessing, the same for every input of that answer."""
    subject = of_run(linear_run)
    one, batch = Classifier.of(subject), subject.examples(6)
    raw = one.space.to_raw(batch.inputs[0])
    answers = one.predicted(raw)
    maps = Saliency().maps(one, raw, answers)
    weights = one.network.linear_1.weight.view(10, 8, 8) / one.space.scale[0]

    assert torch.allclose(maps, weights[answers].abs(), atol=1e-6)
    occluded = Occlusion(window=1).maps(one, raw, answers)
    assert torch.allclose(occluded, weights[answers] * (raw[:, 0] - one.space.mean[0]), atol=1e-4)


def test_grad_cam_is_the_class_activation_map_of_a_network_that_has_one(tmp_path):
    """Zhou et al. 2016: sum_k w_k A_k, where a global average and a linear layer follow the maps A."""
    subject = of_run(runner.run(experiment_of(CAM), tmp_path).results[0].run)
    one, batch = Classifier.of(subject), subject.examples(10)
    raw = one.space.to_raw(batch.inputs[0])
    answers = one.predicted(raw)
    found = GradCAM(layer="relu_1").maps(one, raw, answers)
    with torch.no_grad():
        maps = one.network.relu_1(one.network.conv_1(batch.inputs[0]))
        by_hand = torch.einsum("nk,nkhw->nhw", one.network.linear_1.weight[answers], maps).clamp_min(0) / 64
        wrong = torch.einsum("nk,nkhw->nhw", one.network.linear_1.weight[(answers + 1) % 10], maps).clamp_min(0) / 64

    assert torch.allclose(found, by_hand, atol=1e-5)
    assert not torch.allclose(found, wrong, atol=1e-2)
    assert GradCAM(examples=64).run(subject).figures["deletion"] > 0


def test_signals_and_vectors_are_shown_as_lines(tmp_path):
    text = """
name: vectors
data: {synthetic: {shape: [6], classes: 3, train: 60, valid: 0, test: 20}}
network: {layers: [{linear: 8}, relu, {linear: 3}]}
train: {steps: 20, batch_size: 20, optimizer: {adam: 0.05}, device: cpu}
track: {mlflow: false}
"""
    subject = of_run(runner.run(experiment_of(text), tmp_path).results[0].run)
    found = Saliency(shown=2).run(subject)

    assert [panel.x for panel in found.panels[1:]] == ["input", "input"]
    assert [len(np.asarray(mark.y)) for mark in found.panels[1].marks] == [6, 6]


def test_mistakes_are_sentences(digits_run, linear_run):
    subject, linear = of_run(digits_run), of_run(linear_run)

    assert "has no layer with maps" not in str(GradCAM().problems(subject))
    assert GradCAM(layer="flatten_1").problems(subject)[0].hint == "The last layer that has is `max_pool_1`."
    assert "Did you mean `conv_1`?" in GradCAM(layer="conv").problems(subject)[0].hint
    (problem,) = Saliency(method="guided").problems(linear)
    assert problem.message == f"`guided` changes how ReLUs pass gradients back, and {linear_run.key} has none"
    values = of_spec(experiment_of("name: bare\nnetwork: {inputs: [2], layers: [{linear: 2}]}"))
    assert "names no `data`" in Saliency().problems(values)[0].message
