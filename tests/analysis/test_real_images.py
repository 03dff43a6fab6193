"""Analyses of inputs, features and the loss on MNIST and CIFAR-10, where they are: what the papers say of them."""

from __future__ import annotations

import pytest
from helpers import experiment_of

from dlx.analysis.kinds.adversarial import Adversarial
from dlx.analysis.kinds.attribution import Occlusion, Saliency
from dlx.analysis.kinds.loss_landscape import LossLandscape
from dlx.analysis.kinds.neighbours import Neighbours
from dlx.analysis.kinds.probes import Probes
from dlx.analysis.subject import Subject, of_run
from dlx.experiment import runner

pytestmark = pytest.mark.slow

DIGITS = """
name: digits
data:
  idx:
    images: {data}/t10k-images-idx3-ubyte.gz
    labels: {data}/t10k-labels-idx1-ubyte.gz
    train: 6000
    valid: 0
    test: 2000
    stratify: true
network: {{layers: {layers}}}
objective: classification
init: he_normal
train: {{{length}, batch_size: 50, optimizer: {{adam: {rate}}}, seed: 0, device: cpu}}
track: {{mlflow: false}}
"""
LINEAR = "[flatten, {linear: 10}]"
CONVOLUTIONS = (
    """[{conv: {out_channels: 8, kernel_size: 5}}, relu, {max_pool: 2}, flatten, {linear: 32}, relu, {linear: 10}]"""
)
PICTURES = """
name: pictures
data:
  images:
    path: {data}/cifar10-train.parquet
    test_path: {data}/cifar10-test.parquet
    train: 2000
    valid: 0
    size: 16
    filter: box
    standardize: channel
network:
  layers:
    - {{conv: {{out_channels: 8, kernel_size: 3, padding: 1}}}}
    - repeat:
        times: 3
        layers: [{{residual: {{layers: [relu, {{conv: {{out_channels: 8, kernel_size: 3, padding: 1}}}}]}}}}]
    - global_avg_pool
    - linear: 10
objective: classification
init: he_normal
train: {{{length}, batch_size: 50, optimizer: {{adam: {rate}}}, seed: 0, device: cpu}}
track: {{mlflow: false}}
"""


@pytest.fixture(scope="module")
def trained(shared_data, tmp_path_factory):
    def made(text: str, **words: str) -> Subject:
        spec = text.format(data=shared_data, **words)
        return of_run(runner.run(experiment_of(spec), tmp_path_factory.mktemp("real")).results[0].run)

    return made


@pytest.fixture(scope="module")
def both(trained):
    """A convolutional network of MNIST, trained and before."""
    ways = ({"length": "epochs: 3", "rate": "3e-3"}, {"length": "steps: 1", "rate": "1e-12"})
    return [trained(DIGITS, layers=CONVOLUTIONS, **words) for words in ways]


def test_fast_gradient_signs_of_a_quarter_turn_every_answer_of_a_linear_classifier_of_mnist(trained):
    """Goodfellow et al. 2015, section 4: a softmax classifier has 99.9 % errors at 0.25; random signs do less."""
    subject = trained(DIGITS, layers=LINEAR, length="epochs: 5", rate="1e-3")
    found = Adversarial(attack="fgsm", perturbations=[0.25], examples=2000).run(subject).figures

    assert found["accuracy"] > 0.85
    assert found["accuracy_least"] < 0.005
    assert found["random_accuracy"] > 0.6


@pytest.mark.parametrize(
    "kind", [Saliency(examples=200, method="integrated"), Occlusion(examples=200)], ids=["saliency", "occlusion"]
)
def test_answers_about_mnist_go_with_the_places_that_maps_call_important(both, kind):
    trained, untrained = (kind.run(one).figures["accuracy_above_random"] for one in both)

    assert trained > 0.1 > untrained


def test_layers_of_a_trained_network_of_mnist_separate_classes_and_bring_them_together(both):
    """Alain & Bengio 2016, figure 5; a linear classifier of the pixels has 0.92 of 60,000 (LeCun et al. 1998)."""
    probes = [Probes(layers=["relu_2"], examples=1500).run(one).figures for one in both]
    neighbours = [Neighbours(layer="relu_2", among=2000).run(one).figures["same_class_features"] for one in both]

    assert probes[0]["last_layer"] > 0.92
    assert probes[0]["last_layer"] > probes[1]["last_layer"] + 0.02
    assert neighbours[0] > 0.9 > neighbours[1]


def test_around_a_residual_network_of_cifar_the_loss_is_a_bowl(trained):
    """UDL figure 11.13a; around the weights that it began with it is not lowest in the middle."""
    ways = ({"length": "epochs: 2", "rate": "3e-3"}, {"length": "steps: 1", "rate": "1e-12"})
    kind = LossLandscape(points=5, radius=0.5, examples=300)
    found, start = (kind.run(trained(PICTURES, **words)).figures for words in ways)

    assert found["loss"] == found["lowest"]
    assert found["bumpiness"] < 1e-3
    assert start["loss"] > start["lowest"]
