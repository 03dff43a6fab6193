"""A mixture of experts: each token through k of them, a loss that keeps them busy, and experts that specialise."""

import json

import pytest
import torch
from helpers import SHIPPED, contradiction, experiment_of, refusal

import dlx
from dlx.data import DATASETS
from dlx.experiment import runner
from dlx.layers import LAYERS
from dlx.modules.auxiliary import AuxiliaryLosses
from dlx.modules.experts import imbalance
from dlx.shapes import Shape

EXPERT = [{"linear": 6}, "tanh", {"linear": 5}]


def made(x, **options):
    layer = LAYERS["mixture_of_experts"].model_validate({"num_experts": 4, "expert": EXPERT, **options})
    return layer.module(Shape(x.shape[1:])).double()


@pytest.mark.parametrize("options", [{"k": 1}, {"k": 2}, {"k": 3, "renormalize": True}])
@pytest.mark.parametrize("shape", [(3,), (7, 3), (2, 4, 3)])
def test_each_token_is_the_weighed_sum_of_its_experts(options, shape):
    torch.manual_seed(0)
    x = torch.randn(5, *shape).double()
    module = made(x, **options)
    y = module(x).flatten(0, -2)

    for token, result in zip(x.flatten(0, -2), y, strict=True):
        probabilities = (module.gate.weight @ token).softmax(0)
        best = sorted(range(4), key=lambda e: -probabilities[e].item())[: options["k"]]
        total = sum(probabilities[e] for e in best) if options.get("renormalize") else 1
        expected = sum(probabilities[e] / total * module.experts[e](token) for e in best)
        torch.testing.assert_close(result, expected)


def test_noise_is_drawn_in_training_alone():
    torch.manual_seed(0)
    x = torch.randn(50, 3).double()
    module = made(x, noisy=True)

    assert not torch.equal(module(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


# --- the balancing loss ---------------------------------------------------------------------------------------------


def test_the_balancing_loss_is_1_where_all_get_as_many_and_the_number_of_experts_where_one_gets_all():
    even = torch.eye(4).repeat(3, 1)
    one = torch.eye(4)[torch.zeros(12, dtype=torch.long)]

    assert imbalance(even, even.argmax(1, keepdim=True)) == 1
    assert imbalance(one, one.argmax(1, keepdim=True)) == 4


def test_training_adds_the_balancing_loss_and_evaluation_does_not():
    torch.manual_seed(0)
    x = torch.randn(20, 3).double()
    module = made(x, balance=0.5)
    losses = AuxiliaryLosses(module)

    module.eval()(x)
    assert losses.total() == 0
    module.train()(x)
    probabilities = module.gate(x).softmax(1)
    share = torch.stack([(probabilities.argmax(1) == e).double().mean() for e in range(4)])
    torch.testing.assert_close(losses.total(), 0.5 * 4 * (share * probabilities.mean(0)).sum())
    assert losses.total() == 0  # taken once


SPEC = """
    data: {blobs: {train: 8, test: 8}}
    network: {layers: [{mixture_of_experts: {num_experts: 2, balance: BALANCE, expert: [{linear: 3}]}}]}
    objective: classification
    train: {steps: 1, batch_size: all, optimizer: {sgd: 0}}
    track: {mlflow: false}
"""


def test_the_loss_of_training_has_the_balancing_loss_and_that_of_an_evaluation_does_not(tmp_path):
    """The learning rate is 0, so that both are of the weights of the start, on all examples."""
    for balance in ("0", "10"):
        result = runner.run(experiment_of(SPEC.replace("BALANCE", balance)), tmp_path / balance).results[0]
        lines = (result.run.dir / "metrics.jsonl").read_text().splitlines()
        (step,) = (line["metrics"] for line in map(json.loads, lines) if line["record"] == "step")
        added = step["train/running_loss"] - result.metrics["train/loss"]
        assert (
            added == pytest.approx(0, abs=1e-6) if balance == "0" else 9 < added < 20
        )  # at most times 2, the experts


# --- experts that specialise ----------------------------------------------------------------------------------------


def trained(tmp_path, balance):
    """The accuracy, the share of digits that each expert gets, and of those that go where most of their class do."""
    text = SHIPPED["zoo/mixture-of-experts"].read_text().replace("balance: 0.3", f"balance: {balance}")
    text = text.partition("expect:")[0]  # the claims are those of the balanced one
    network = dlx.train(text + "track: {mlflow: false}\n", runs=tmp_path / str(balance), quiet=True).model
    test = DATASETS["digits"]().load().test
    x, y = torch.as_tensor(test.x), torch.as_tensor(test.y).long()
    chosen = network.mixture_of_experts_1.routed(x.flatten(1))[1][:, 0]
    table = torch.zeros(10, 5).index_put((y, chosen), torch.ones(len(y)), accumulate=True)
    right = (network(x).argmax(1) == y).float().mean()
    return right.item(), table.sum(0) / len(y), table.amax(1).sum().item() / len(y)


def test_experts_share_the_digits_by_class_and_without_the_balancing_loss_one_takes_most(tmp_path):
    accuracy, load, by_class = trained(tmp_path, 0.3)
    unbalanced, collapsed, _ = trained(tmp_path, 0)

    assert accuracy > 0.9 > unbalanced  # 0.936 and 0.858
    assert load.amin() > 0.1  # 0.16 to 0.28
    assert by_class > 0.8  # 0.2 where they do not tell classes apart; 0.90
    assert collapsed.amax() > 0.5  # 0.60, and two get none
    assert (collapsed == 0).sum() == 2


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expert", "message"),
    [
        (
            ["batch_norm"],
            "batch_norm in an expert computes statistics over the batch, and its tokens are few or none",
        ),
        (["add"], "an expert is a list of layers, and add takes several inputs"),
        (
            [{"reshape": [3, 1]}],
            "an expert makes a vector of a vector, and this one makes (3, 1) of (7, 3)'s 3 values",
        ),
    ],
)
def test_an_expert_that_makes_no_vector_of_a_token_alone_is_refused(expert, message):
    assert refusal("mixture_of_experts", {"num_experts": 2, "expert": expert}, [(7, 3)])[0] == message


def test_fields_that_do_not_go_together_are_refused():
    def refused(**options):
        return contradiction("mixture_of_experts", {"num_experts": 4, "expert": EXPERT, **options})

    assert refused(k=5) == "a token cannot take k = 5 of num_experts = 4"
    assert "the router learns nothing" in refused(renormalize=True)
