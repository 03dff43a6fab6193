"""Losses that do not fit the last layer or the targets: right, or told at their place."""

from textwrap import dedent

import numpy as np
import pytest

from dlx.errors import SpecError
from dlx.experiment.runner import prepare
from dlx.graph import trace
from dlx.spec import load

X = np.random.default_rng(0).normal(size=(30, 4)).astype("float32")
TARGETS = {
    "yes": (X[:, 0] > 0).astype("int64"),
    "three": np.arange(30) % 3,
    "flat": X @ np.float32([1, 2, 3, 4]),
    "values": X[:, :1],
    "counts": np.floor(np.abs(X[:, :1]) * 3),
    "shares": np.abs(X[:, :3]) / np.abs(X[:, :3]).sum(1, keepdims=True),
    "sizes": np.abs(X[:, :3]) / np.abs(X[:, :3]).max(),
    "signs": np.sign(X[:, :1]).astype("float32"),
}


def spec_of(folder, targets, layers, objective):
    np.savez(folder / "data.npz", x=X, y=TARGETS[targets])
    path = folder / "s.yaml"
    path.write_text(
        dedent(f"""\
            data: {{arrays: {{path: data.npz, train: 20, valid: 5, test: 5}}}}
            network: {{layers: {layers}}}
            objective: {objective}
            train: {{steps: 1}}
        """)
    )
    return load(path)


@pytest.mark.parametrize(
    ("targets", "layers", "objective", "layer", "loss"),
    [
        ("three", "[{linear: 3}, softmax]", "classification", "softmax", "cross_entropy"),
        ("three", "[{linear: 3}, sigmoid]", "{classification: {loss: focal}}", "sigmoid", "focal"),
        ("yes", "[{linear: 1}, sigmoid]", "binary_classification", "sigmoid", "binary_cross_entropy"),
        ("yes", "[{linear: 1}, softmax]", "binary_classification", "softmax", "binary_cross_entropy"),
        ("shares", "[{linear: 3}, softmax]", "{regression: {loss: kl_div}}", "softmax", "kl_div"),
    ],
)
def test_probabilities_before_a_loss_that_takes_logits_are_reported(
    tmp_path, targets, layers, objective, layer, loss
):
    (odd,) = trace(spec_of(tmp_path, targets, layers, objective)).warnings
    assert odd.message == f"{loss} takes logits, of which it makes probabilities itself, and {layer} has made some"
    assert odd.hint == f"Leave `{layer}` out: it is predicted as probabilities all the same."
    assert (odd.mark.line, odd.mark.column, odd.path) == (2, 33, f"network.layers.{layer}_1")


@pytest.mark.parametrize(
    ("targets", "layers", "objective"),
    [
        ("three", "[{linear: 3}, log_softmax]", "classification"),  # log_softmax of itself is itself
        ("three", "[{linear: 3}, softmax]", "{classification: {loss: squared_error}}"),
        ("three", "[{linear: 3}]", "{classification: {loss: hinge}}"),
        ("yes", "[{linear: 2}]", "classification"),
        ("yes", "[{linear: 1}]", "{binary_classification: {loss: binary_hinge}}"),
        ("flat", "[{linear: 1}]", "regression"),
        ("counts", "[{linear: 1}]", "{regression: {loss: poisson}}"),
        ("shares", "[{linear: 3}]", "{regression: {loss: kl_div}}"),
        ("sizes", "[{linear: 3}]", "{regression: {loss: binary_cross_entropy}}"),
        ("values", "[{linear: 2}]", "{regression: {loss: gaussian_nll}}"),
    ],
)
def test_what_fits_is_trained_without_a_word(tmp_path, targets, layers, objective):
    made = prepare(spec_of(tmp_path, targets, layers, objective))
    graph, sets = made.graph, made.sets
    assert [w for w in graph.warnings if not w.path.startswith("data")] == []
    if objective == "regression":
        assert sets.train.y.shape == (20, 1)  # not (20,), which (20, 1) outputs would turn into 20 x 20 gaps


@pytest.mark.parametrize(
    ("targets", "layers", "loss", "sentence"),
    [
        ("values", "[{linear: 1}]", "poisson", "poisson is for targets of 0 and more, and these go from -"),
        ("values", "[{linear: 1}]", "binary_cross_entropy", "is for targets from 0 to 1, and these go from -"),
        ("values", "[{linear: 1}]", "dice", "dice is for targets from 0 to 1, and these go from -"),
        (
            "signs",
            "[{linear: 1}]",
            "binary_hinge",
            "binary_hinge is for targets from 0 to 1, and these go from -1 to 1",
        ),
        ("sizes", "[{linear: 3}]", "kl_div", "kl_div is for probabilities that add up to 1, and these add up to 0."),
        ("sizes", "[{linear: 3}]", "{sum: [squared_error, kl_div]}", "kl_div is for probabilities that add up to 1"),
    ],
)
def test_targets_that_a_loss_is_not_for_are_reported_before_training(tmp_path, targets, layers, loss, sentence):
    with pytest.raises(SpecError) as refused:
        prepare(spec_of(tmp_path, targets, layers, f"{{regression: {{loss: {loss}}}}}"))
    (problem,) = refused.value.problems
    assert sentence in problem.message
    assert problem.message.endswith("in the part `train`")
    assert (problem.mark.line, problem.path) == (3, "objective.loss")


@pytest.mark.parametrize(
    ("targets", "layers", "objective", "sentence"),
    [
        (
            "yes",
            "[{linear: 2}]",
            "binary_classification",
            "the network ends in (2,), and binary_classification has one",
        ),
        ("yes", "[{linear: 1}]", "classification", "the network ends in (1,), and the data has 2 classes"),
        ("three", "[{linear: 2}]", "classification", "the network ends in (2,), and the data has 3 classes"),
        ("flat", "[{linear: 4}]", "regression", "the network ends in (4,), and each target of the data is (1,)"),
        (
            "yes",
            "[{linear: 2}]",
            "{classification: {loss: {cross_entropy: {weight: [1, 2, 3]}}}}",
            "`weight` of cross_entropy has 3 values, and the data has 2 classes",
        ),
        (
            "yes",
            "[{linear: 2}]",
            "{classification: {loss: {cross_entropy: {weight: [0, 0]}}}}",
            "`weight` of cross_entropy is 0 for every class",
        ),
        (
            "yes",
            "[{linear: 2}]",
            "{classification: {loss: {cross_entropy: {label_smoothing: 1.5}}}}",
            "`label_smoothing` must be at most 1, not 1.5",
        ),
        ("yes", "[{linear: 1}]", "{binary_classification: {loss: hinge}}", "the loss hinge wants an output a class"),
        ("flat", "[{linear: 1}]", "{regression: {loss: cross_entropy}}", "the loss cross_entropy wants classes"),
    ],
)
def test_outputs_and_fields_that_do_not_fit_are_reported(tmp_path, targets, layers, objective, sentence):
    with pytest.raises(SpecError) as refused:
        trace(spec_of(tmp_path, targets, layers, objective))
    assert sentence in " ".join(problem.message for problem in refused.value.problems)
