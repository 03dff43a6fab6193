"""Objectives: what they make of outputs and targets, in a training and at its evaluations."""

import math

import pytest
import torch
from complaints import lines, report
from helpers import SHIPPED, experiment_of
from torch import nn

from dlx.errors import SpecError
from dlx.graph import trace, trace_all
from dlx.network import build
from dlx.objectives import OBJECTIVES
from dlx.spec import load, objective_of
from dlx.training.batches.on_device import on_device
from dlx.training.fit import Job, evaluate, fit

SYNTHETIC = "{{shape: [5], {targets}, train: 64, valid: 24, test: 40}}"


def job(
    objective: str, targets="classes: 3", layers="[{linear: 3}]", train="steps: 4", outputs="", shape="[5]"
) -> Job:
    data = f"{{shape: {shape}, {targets}, train: 64, valid: 24, test: 40}}"
    experiment = experiment_of(f"""
        data: {{synthetic: {data}}}
        network: {{layers: {layers}{outputs and ", outputs: " + outputs}}}
        objective: {objective}
        train: {{{train if "batch_size" in train else train + ", batch_size: 16"}, device: cpu}}
    """)
    torch.manual_seed(experiment.train.seed)
    network = build(trace(experiment), experiment.init)
    parts = on_device(experiment.data.load(), torch.device("cpu"))
    return Job(network, objective_of(experiment), experiment.train, parts)


def step(one: Job) -> float:
    """The loss of the first update."""
    return next(r.metrics["train/running_loss"] for r in fit(one))


# --- kinds ----------------------------------------------------------------------------------------------------------


def test_binary_classification_learns_with_one_logit():
    one = job(
        "{binary_classification: {metrics: [f1, auroc]}}",
        "classes: 2",
        "[{linear: 1}]",
        "epochs: 30, optimizer: {adam: 0.05}",
    )
    end = list(fit(one))[-1].metrics
    x, y = one.parts["test"].x, one.parts["test"].y
    logit = one.network(x).squeeze(1)

    assert end["test/loss"] == pytest.approx(
        nn.functional.binary_cross_entropy_with_logits(logit, y.float()).item(), rel=1e-5
    )
    assert end["test/accuracy"] == pytest.approx(((logit > 0) == y).float().mean().item())
    assert end["test/error"] == pytest.approx(1 - end["test/accuracy"])
    hits, alarms, missed = (((logit > 0) == a) & (y == b) for a, b in ((1, 1), (1, 0), (0, 1)))
    assert end["test/f1"] == pytest.approx((2 * hits.sum() / (2 * hits.sum() + alarms.sum() + missed.sum())).item())
    assert end["test/auroc"] > 0.9
    assert end["train/error"] < 0.2


def test_squared_error_of_one_output_decides_at_a_half():
    one = job("{binary_classification: {loss: squared_error}}", "classes: 2", "[{linear: 1}]")
    x, y = one.parts["test"].x, one.parts["test"].y
    assert evaluate(one, "test")["test/accuracy"] == pytest.approx(
        ((one.network(x).squeeze(1) > 0.5) == y).float().mean().item()
    )


MAP = "[{conv: {out_channels: 3, kernel_size: 1}}]"


@pytest.mark.parametrize("loss", ["cross_entropy", "dice", "focal", "binary_cross_entropy"])
def test_segmentation_learns_a_class_at_each_position(loss):
    one = job(
        f"{{segmentation: {{loss: {loss}, metrics: [iou]}}}}",
        "classes: 3, positions: [3, 4]",
        "[{conv: {out_channels: 36, kernel_size: [3, 4]}}, {reshape: [3, 3, 4]}]",
        "epochs: 25, optimizer: {adam: 0.1}",
        shape="[1, 3, 4]",
    )
    end = list(fit(one))[-1].metrics
    x, y = one.parts["test"].x, one.parts["test"].y
    assert end["test/accuracy"] == pytest.approx((one.network(x).argmax(1) == y).float().mean().item())
    assert end["train/accuracy"] > 0.6
    assert 0 < end["test/iou"] < 1


def test_ignored_positions_count_in_no_number(monkeypatch):
    from dlx.training import fit as module

    one = job(
        "{segmentation: {loss: {cross_entropy: {ignore_index: 255}}, metrics: [iou, {top_k_error: 1}]}}",
        "classes: 3, positions: [2, 4]",
        MAP,
        shape="[1, 2, 4]",
    )
    part = one.parts["test"]
    whole = evaluate(one, "test")
    part.y[::2, 0] = 255
    part.y[1::2, :, 1:] = 255
    seen = evaluate(one, "test")
    logits, saved = one.network(part.x), part.y != 255
    rows = logits.movedim(1, -1)[saved]
    assert seen["test/loss"] == pytest.approx(nn.functional.cross_entropy(rows, part.y[saved]).item(), rel=1e-5)
    assert seen["test/accuracy"] == pytest.approx((rows.argmax(1) == part.y[saved]).float().mean().item())
    assert seen["test/top_1_error"] == pytest.approx(seen["test/error"])
    monkeypatch.setattr(module, "EVALUATION_BATCH", 10)
    part.y[:10] = 255
    assert not any(math.isnan(value) for value in evaluate(one, "test").values())
    assert seen != whole


@pytest.mark.parametrize("loss", ["{cross_entropy: {weight: [1, 4, 0.5]}}", "{cross_entropy: {ignore_index: 2}}"])
def test_an_evaluation_of_weighed_classes_is_that_of_the_whole_part_at_once(loss, monkeypatch):
    from dlx.training import fit as module

    one = job(f"{{classification: {{loss: {loss}, metrics: [f1, {{top_k_error: 2}}, perplexity]}}}}")
    whole = evaluate(one, "train")
    monkeypatch.setattr(module, "EVALUATION_BATCH", 13)
    assert evaluate(one, "train") == pytest.approx(whole, rel=1e-5)
    x, y = one.parts["train"].x, one.parts["train"].y
    assert whole["train/loss"] == pytest.approx(one.objective.loss.function()(one.network(x), y).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "outputs"),
    [("gaussian_nll", 4), ("{mixture_density: 2}", 8), ("{huber: {delta: 0.5}}", 2), ("poisson", 2)],
)
def test_regression_with_a_distribution_measures_its_mean(loss, outputs):
    one = job(
        f"{{regression: {{loss: {loss}, metrics: [r2]}}}}", "target: [2]", f"[{{linear: {outputs}}}]", "epochs: 3"
    )
    x, y = one.parts["test"].x, one.parts["test"].y
    mean = one.objective.loss.predict(one.network(x))
    message = evaluate(one, "test")
    assert mean.shape == y.shape
    assert message["test/mse"] == pytest.approx((mean - y).square().mean().item(), rel=1e-5)
    assert message["test/mae"] == pytest.approx((mean - y).abs().mean().item(), rel=1e-5)
    r2 = (1 - (mean - y).square().sum(0) / (y - y.mean(0)).square().sum(0)).mean()
    assert message["test/r2"] == pytest.approx(r2.item(), rel=1e-4)


def test_a_network_learns_the_noise_beside_the_mean():
    """Targets are a linear map and nothing else, so the variance that it tells falls."""
    train = "epochs: 60, optimizer: {adam: 0.05}"
    one = job("{regression: {loss: gaussian_nll}}", "target: [1]", "[{linear: 2}]", train)
    before = one.network(one.parts["test"].x)[:, 1].mean().item()
    list(fit(one))
    assert one.network(one.parts["test"].x)[:, 1].mean().item() < before - 2


def test_the_end_tells_how_the_final_weights_fit_the_training_set():
    """The data term of the main output alone: no dropout, penalties or flooding, as in the running loss."""
    layers = "[{linear: 8}, {dropout: 0.5}, {linear: 3}]"
    one = job("{classification: {l2: 0.1, flooding: 9}}", layers=layers, train="epochs: 2, log_every: 1")
    *before, end = fit(one)
    one.network.eval()
    x, y = one.parts["train"].x, one.parts["train"].y
    logits = one.network(x)
    assert end.metrics["train/error"] == pytest.approx((logits.argmax(1) != y).float().mean().item())
    assert end.metrics["train/loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, y).item(), rel=1e-5)
    assert "train/running_loss" not in end.metrics
    assert all(r.metrics["train/running_loss"] >= 9 for r in before if r.record == "step")
    assert not any(name.startswith("train/") and "running" not in name for r in before for name in r.metrics)


# --- several outputs ------------------------------------------------------------------------------------------------

HEADS = "[{linear: 4, name: trunk}, {linear: 3, name: aux_head, from: trunk}, {linear: 3, name: head, from: trunk}]"


def test_auxiliary_heads_add_their_weighed_losses_in_training_only():
    """GoogLeNet's 0.3, arXiv:1409.4842, section 5."""
    heads = "{side: aux_head, main: head}"
    one = job("{classification: {aux: {side: 0.3}}}", layers=HEADS, outputs=heads, train="steps: 1, shuffle: false")
    x, y = one.parts["train"].x[:16], one.parts["train"].y[:16]
    out = one.network(x)
    main, side = (nn.functional.cross_entropy(out[name], y).item() for name in ("main", "side"))
    valid = evaluate(one, "valid")
    logits = one.network(one.parts["valid"].x)["main"]
    assert valid["valid/loss"] == pytest.approx(
        nn.functional.cross_entropy(logits, one.parts["valid"].y).item(), rel=1e-5
    )
    before = one.network.aux_head.weight.clone()

    assert step(one) == pytest.approx(main + 0.3 * side, rel=1e-5)
    assert not torch.equal(one.network.aux_head.weight, before)


# --- terms ----------------------------------------------------------------------------------------------------------


def updated(objective: str, train: str) -> tuple[float, torch.Tensor, torch.Tensor, Job]:
    """The loss of one update, and the weight before and after it."""
    one = job(f"{{classification: {{{objective}}}}}", train=f"steps: 1, shuffle: false, {train}")
    before = one.network.linear_1.weight.detach().clone()
    return step(one), before, one.network.linear_1.weight.detach(), one


def test_l2_is_weight_decay_of_twice_as_much():
    """lambda sum w^2 has the gradient 2 lambda w (Russell & Norvig, section 22.5); torch's decay leaves out the 2."""
    plain, before, after, one = updated("l2: 0.05", "optimizer: {sgd: 0.1}")
    loss, _, free, other = updated("l2: 0", "optimizer: {sgd: 0.1}")
    torch.testing.assert_close(free - after, 0.1 * 2 * 0.05 * before)
    assert plain == pytest.approx(loss + 0.05 * before.square().sum().item(), rel=1e-5)
    torch.testing.assert_close(one.network.linear_1.bias, other.network.linear_1.bias)  # biases are left alone


def test_the_penalty_of_a_small_matrix_by_hand():
    """W = [[1, 2], [3, 4]], lambda 1e-4: 0.003, and a gradient of [[2, 4], [6, 8]] e-4."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2], [3, 4]]))
    added = OBJECTIVES["classification"](l2=1e-4).penalty(layer)()
    added.backward()
    assert added.item() == pytest.approx(0.003)
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[2e-4, 4e-4], [6e-4, 8e-4]]))
    assert layer.bias.grad is None


def test_l1_and_l2_together_are_the_elastic_net():
    """Deitke, equations 3.1.16 to 3.1.20: [1, 0, 0, 0] and four quarters score alike, and L2 tells 1 from 0.25."""
    layer = nn.Linear(4, 1)
    for weights, l1, l2 in (([1.0, 0, 0, 0], 1, 1), ([0.25] * 4, 1, 0.25)):
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([weights]))
        assert OBJECTIVES["classification"](l1=1).penalty(layer)().item() == l1
        assert OBJECTIVES["classification"](l2=1).penalty(layer)().item() == l2
        assert OBJECTIVES["classification"](l1=2, l2=3).penalty(layer)().item() == 2 * l1 + 3 * l2


def test_a_penalty_counts_once_in_an_update_of_several_pieces():
    for reduction in ("mean", "sum"):
        terms = f"l2: 0.05, l1: 0.01, loss: {{cross_entropy: {reduction}}}"
        whole = updated(terms, "optimizer: {sgd: 0.01}, batch_size: 16")
        pieces = updated(terms, "optimizer: {sgd: 0.01}, batch_size: 4, accumulate: 4")
        assert whole[0] == pytest.approx(pieces[0], rel=1e-5)
        torch.testing.assert_close(whole[2], pieces[2])


@pytest.mark.parametrize("loss", ["{weight: [1, 9, 0.1]}", "{ignore_index: 1}"])
def test_a_mean_of_classes_that_count_unequally_is_the_same_in_pieces(loss):
    whole = updated(f"loss: {{cross_entropy: {loss}}}", "optimizer: {sgd: 0.1}, batch_size: 16")
    pieces = updated(f"loss: {{cross_entropy: {loss}}}", "optimizer: {sgd: 0.1}, batch_size: 4, accumulate: 4")
    assert whole[0] == pytest.approx(pieces[0], rel=1e-5)
    torch.testing.assert_close(whole[2], pieces[2])


def test_norms_and_biases_are_not_penalised():
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm([2, 2]), nn.BatchNorm1d(4))
    added = OBJECTIVES["classification"](l1=1).penalty(network)
    assert added().item() == pytest.approx(network[0].weight.abs().sum().item())


def test_max_norm_shortens_what_is_longer_after_each_update():
    _, before, after, _ = updated("max_norm: 0.5", "optimizer: {sgd: 0.5}")
    _, _, free, _ = updated("flooding: null", "optimizer: {sgd: 0.5}")
    long = free.norm(dim=1)
    assert (long > 0.5).any()
    torch.testing.assert_close(after, free * (0.5 / long).clamp(max=1)[:, None], rtol=1e-4, atol=1e-6)
    assert (before.norm(dim=1) > 0).all()


def test_flooding_climbs_where_the_loss_is_below_the_level():
    """|L - b| + b: above the level nothing changes; below, the gradient is turned round."""
    loss, before, down, _ = updated("flooding: 1e-3", "optimizer: {sgd: 0.1}")
    flooded, _, up, _ = updated("flooding: 50", "optimizer: {sgd: 0.1}")
    assert flooded == pytest.approx(50 - loss + 50, rel=1e-5)
    torch.testing.assert_close(up - before, before - down)


def test_a_loss_without_terms_is_the_function_itself():
    """Nothing is put between where nothing is asked for."""
    objective = OBJECTIVES["classification"]()
    assert objective.training_loss() is objective.loss.function()
    assert OBJECTIVES["classification"]().penalty(nn.Linear(1, 1)) is None
    assert OBJECTIVES["classification"]().limit(nn.Linear(1, 1)) is None


# --- mistakes -------------------------------------------------------------------------------------------------------

CLASSES, PAIR = "data: {synthetic: {shape: [4], classes: 3}}", "data: {synthetic: {shape: [4], classes: 2}}"
VALUES = "data: {synthetic: {shape: [4], target: [2]}}"
PIXELS = "data: {synthetic: {shape: [1, 4, 4], classes: 3, positions: [4, 4]}}"
WRONG = {
    "a metric of values": (
        CLASSES,
        "objective: {classification: {metrics: [r2]}}",
        "[{linear: 3}]",
        """
        s.yaml:2:30  objective.classification.metrics
          the metric r2 is not for classification, which has classes
        """,
    ),
    "a metric of several classes": (
        PAIR,
        "objective: {binary_classification: {metrics: [perplexity]}}",
        "[{linear: 1}]",
        """
        s.yaml:2:37  objective.binary_classification.metrics
          the metric perplexity is not for binary_classification, which has one logit
        """,
    ),
    "a metric twice": (
        CLASSES,
        "objective: {classification: {metrics: [{top_k_error: 2}, {top_k_error: 3}, {top_k_error: 2}]}}",
        "[{linear: 3}]",
        """
        s.yaml:2:30  objective.classification.metrics
          the metric top_2_error is there twice
        """,
    ),
    "a metric that is none": (
        CLASSES,
        "objective: {classification: {metrics: [f2]}}",
        "[{linear: 3}]",
        """
        s.yaml:2:40  objective.classification.metrics.0
          there is no metric `f2`
          There are auprc, auroc, average_precision, calibration_error, confusion_matrix, exact_match, f1, iou, \
joint_distance, pck, perplexity, precision, ....
        """,
    ),
    "three classes for one logit": (
        CLASSES,
        "objective: binary_classification",
        "[{linear: 1}]",
        """
        s.yaml:3:21  network.layers.linear_1
          binary_classification wants two classes, and the data has 3 classes
          `objective: classification` learns such.
        """,
    ),
    "two outputs for one logit": (
        PAIR,
        "objective: binary_classification",
        "[{linear: 2}]",
        """
        s.yaml:3:21  network.layers.linear_1
          the network ends in (2,), and binary_classification has one logit
          Let the last layer be `linear: 1`, or use `objective: classification`.
        """,
    ),
    "a loss of classes for one logit": (
        PAIR,
        "objective: {binary_classification: {loss: hinge}}",
        "[{linear: 1}]",
        """
        s.yaml:3:21  network.layers.linear_1
          the loss hinge wants an output a class, and binary_classification has one logit
          Use `loss: binary_hinge`, or `objective: classification` with two outputs.
        """,
    ),
    "weights of another number of classes": (
        CLASSES,
        "objective: {classification: {loss: {cross_entropy: {weight: [1, 2]}}}}",
        "[{linear: 3}]",
        """
        s.yaml:3:21  network.layers.linear_1
          `weight` of cross_entropy has 2 values, and the data has 3 classes
        """,
    ),
    "a distribution without its parameters": (
        VALUES,
        "objective: {regression: {loss: gaussian_nll}}",
        "[{linear: 2}]",
        """
        s.yaml:3:21  network.layers.linear_1
          the network ends in (2,), and each target of the data is (2,), for which gaussian_nll wants (4,)
          Let the last layer be `linear: 4`.
        """,
    ),
    "one class an example for a map": (
        PIXELS,
        "objective: classification",
        "[flatten, {linear: 3}]",
        """
        s.yaml:3:30  network.layers.linear_1
          classification has one class an example, and the data one at each position of (4, 4)
          Use `objective: segmentation`.
        """,
    ),
    "a map for one class an example": (
        CLASSES,
        "objective: segmentation",
        "[{linear: 3}]",
        """
        s.yaml:3:21  network.layers.linear_1
          segmentation wants a class at each position, and the data has 3 classes, one an example
          Use `objective: classification`.
        """,
    ),
    "a map of another size, where the data implies segmentation": (
        PIXELS,
        "",
        "[{conv: {out_channels: 3, kernel_size: 3}}]",
        """
        s.yaml:3:21  network.layers.conv_1
          the network ends in (3, 2, 2), and the data has 3 classes on 4x4
          For want of padding? `objective: {segmentation: {crop: center}}` takes the middle of targets.
        """,
    ),
    "a loss without positions": (
        PIXELS,
        "objective: {segmentation: {loss: hinge}}",
        "[{conv: {out_channels: 3, kernel_size: 1}}]",
        """
        s.yaml:3:21  network.layers.conv_1
          the loss hinge wants one target an example, and segmentation has one a position
          Use `loss: cross_entropy`.
        """,
    ),
    "numbers wanted of a map": (
        PIXELS,
        "objective: regression",
        "[flatten, {linear: 3}]",
        """
        s.yaml:3:30  network.layers.linear_1
          regression wants targets that are numbers, and the data has 3 classes
          Use `objective: segmentation`.
        """,
    ),
    "an auxiliary output that is none": (
        CLASSES,
        "objective: {classification: {aux: {sid: 0.3}}}",
        "[{linear: 3}]",
        """
        s.yaml:2:36  objective.classification.aux.sid
          `aux` names `sid`, and the network has `output`
          There is output.
        """,
    ),
    "an auxiliary weight of nothing": (
        CLASSES,
        "objective: {classification: {aux: {output: 0}}}",
        "[{linear: 3}]",
        """
        s.yaml:2:36  objective.classification.aux.output
          `aux.output` must be above 0, not 0
          aux: further outputs of the network by name, and the weight of their loss in training.
        """,
    ),
    "nothing but auxiliary outputs": (
        CLASSES,
        "objective: {classification: {aux: {output: 1}}}",
        "[{linear: 3}]",
        """
        s.yaml:2:36  objective.classification.aux.output
          `aux` names every output of the network
          Leave out the one that is asked for.
        """,
    ),
}


@pytest.mark.parametrize(("data", "objective", "layers", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_reported_at_its_place(tmp_path, data, objective, layers, message):
    assert report(tmp_path, f"{data}\n{objective}\nnetwork: {{layers: {layers}}}\n") == lines(message)


def test_an_auxiliary_output_is_held_against_the_data_too(tmp_path):
    heads = HEADS.replace("linear: 3, name: aux", "linear: 4, name: aux")
    text = f"""
data: {{synthetic: {{shape: [5], classes: 3}}}}
objective: {{classification: {{aux: {{side: 0.3}}}}}}
network: {{outputs: {{main: head, side: aux_head}}, layers: {heads}}}
"""
    assert "network.layers.aux_head\n  the network ends in (4,), and the data has 3 classes" in report(tmp_path, text)


def test_an_objective_is_finite_at_the_start_for_each_loss_of_classes():
    for loss, start in (("cross_entropy", math.log(3)), ("hinge", 2.0), ("squared_hinge", 2.0)):
        one = job(f"{{classification: {{loss: {loss}}}}}", layers="[{linear: 3, values: {weight: 0, bias: 0}}]")
        assert evaluate(one, "test")["test/loss"] == pytest.approx(start)


@pytest.mark.parametrize("spec", ["digits/lenet", "zoo/gan"])
def test_each_objective_that_a_spec_does_not_fit_says_a_way_out(spec):
    fitting, without = [], []
    for kind in OBJECTIVES:
        try:
            trace_all(load(SHIPPED[spec], [f"objective={kind}", "~expect"]))
            fitting.append(kind)
        except SpecError as error:
            without += [(kind, problem.message) for problem in error.problems if not problem.hint]
    assert not without
    assert fitting == (["classification"] if spec == "digits/lenet" else ["gan"])
