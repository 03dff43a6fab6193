"""Every receipt of the shipped specs fails once something of its spec is changed: a width, a bias, a layer, a step.

A receipt that holds whatever is changed proves nothing. `make receipts` takes all specs, the quick tests a sample.
"""

import pytest
from helpers import SHIPPED
from perturbed import perturb, perturb_analyses, untrained

from dlx.experiment import runner
from dlx.graph.expect import claims, of_results
from dlx.spec import load

QUICK = {
    *("aima/shared-kernels", "cs231n/output-sizes", "cs231n/two-layer-minibatch", "cs231n/scores", "cs231n/vgg19"),
    *(
        "ihler/fully-connected",
        "mnist1d/cnn",
        "nielsen/network-5",
        "udl/mnist1d-conv",
        "udl/problem-10-6",
        "udl/shallow-2-3-1",
        "ihler/mlp-2-3-1",
        "zoo/made",
    ),
}
"""Specs of all sorts whose changes are looked at in a moment."""

NO_WEIGHTS = "it is of pools alone, which have no weights whatever their sizes are"
STANDING = {
    ("cs231n/pooling", "params"): NO_WEIGHTS,
    ("udl/max-unpooling", "params"): NO_WEIGHTS,
    ("udl/noh", "count of max_pool"): "each pool has its unpooling: one of them changed alone is no network",
    (
        "udl/noh",
        "shape of reshape_1",
    ): "the dense layer before it fits this shape alone: another is no network",
}
"""Receipts that hold under every single change, with the reason."""

OF_DATA = "the curvature of squares is that of the inputs, whatever the weights are"
OWN = "with k = 1 each example is its own neighbour in any data; with k = 3 it fails"
STANDING_ANALYSES = {
    ("cs231n/nearest-neighbours", "analysis/pixels/training_k1_l1"): OWN,
    ("cs231n/nearest-neighbours", "analysis/pixels/training_k1_l2"): OWN,
    ("udl/figure-2-3", "analysis/curvature/largest"): OF_DATA,
    ("udl/figure-2-3", "analysis/curvature/smallest"): OF_DATA,
}
"""Claims on analyses that hold under every single change of what is analysed, with the reason."""

EQUALS = "of networks that have learned nothing neither can tell the other's samples, as of two that are equally good"
WITHOUT_TRAINING = {
    (
        "zoo/contractive-autoencoder",
        "test/jacobian",
    ): "small weights have a small Jacobian, and a large error",
    ("zoo/gan", "test/discriminator/nll"): EQUALS,
    ("zoo/gan-1d", "test/discriminator/nll"): EQUALS,
}
"""Claims on a training that a network after one step meets too, with the reason; each has another beside it."""

DECLARED = {name: load(path).analyses for name, path in SHIPPED.items() if "\nanalyses:" in path.read_text()}
FRESH = [name for name, each in DECLARED.items() if any(not one.after_training for one in each.values())]

RESULTS = [name for name, path in SHIPPED.items() if any(one.trained for one in claims(load(path)))]


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in SHIPPED])
def test_every_receipt_fails_under_some_single_change_of_its_spec(name):
    found = perturb(load(SHIPPED[name]))
    left = {(name, receipt.claim.title) for receipt in found.standing.values()}
    assert left == {one for one in STANDING if one[0] == name}
    assert found.broken.total() + len(left) == found.receipts


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FRESH])
def test_every_claim_on_an_analysis_before_training_fails_under_some_single_change(name):
    found = perturb_analyses(load(SHIPPED[name]))
    left = {(name, receipt.claim.title) for receipt in found.standing.values()}

    assert found.receipts
    assert left == {one for one in STANDING_ANALYSES if one[0] == name}
    assert found.broken.total() + len(left) == found.receipts


def test_a_receipt_that_cannot_fail_is_found(tmp_path):
    """The twin: of a figure times zero, bounds that no width reaches, and a receipt that is none of these."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "dlx: 1\nname: s\nnetwork: {inputs: [3], layers: [{linear: 4}, relu, {linear: 2}]}\n"
        "train: {steps: 100, optimizer: {sgd: 0.1}}\nexpect:\n  params: {at_least: 0}\n  weights: 20\n"
        '  figures:\n    nothing: {of: "${0 * params}", is: 0}\n'
        '    steps: {of: "${train.steps}", is: 100}\n'
    )
    found = perturb(load(path))
    assert {one.claim.title for one in found.standing.values()} == {"params", "nothing"}
    assert (found.receipts, found.broken["train"], found.broken.total()) == (4, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESULTS)
def test_a_network_after_one_step_meets_no_claim_on_its_training(name, tmp_path):
    experiment = load(SHIPPED[name])
    changed = load(SHIPPED[name], untrained(experiment))
    if changed.last_stage.data is None:
        pytest.skip("its data is not shipped")
    metrics = runner.run(changed, tmp_path).metrics
    met = {(name, one.claim.title) for one in of_results(experiment, metrics) if one.verdict != "FAILS"}
    assert met == {one for one in WITHOUT_TRAINING if one[0] == name}
