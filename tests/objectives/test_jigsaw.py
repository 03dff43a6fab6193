"""Jigsaw puzzles by hand: pieces, orders, loss and metrics; what is refused, and resume."""

import math

import pytest
import torch
from cut_off import assert_it_goes_on
from helpers import experiment_of

from dlx.data.batch import Batch
from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.objectives import OBJECTIVES

KIND = OBJECTIVES["jigsaw"]
SPEC = """
name: j
data: {synthetic: {shape: [1, 4, 4], classes: 3, train: 40, valid: 8}}
network: {layers: [flatten, {linear: 8}, relu, {linear: 6}]}
objective: {jigsaw: {permutations: 6}}
train: {epochs: 3, batch_size: 8, save_every: 1, log_every: 1, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""


def test_pieces_lie_where_the_order_says():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    one = KIND()
    for number, order in enumerate(one.orders.tolist()):
        made = one.shuffled(x, torch.tensor([number]))[0, 0]
        pieces = [x[0, 0, r : r + 2, c : c + 2] for r in (0, 2) for c in (0, 2)]
        found = [made[r : r + 2, c : c + 2] for r in (0, 2) for c in (0, 2)]
        assert all(torch.equal(found[place], pieces[piece]) for place, piece in enumerate(order))
    assert torch.equal(one.shuffled(x, torch.tensor([0])), x)


@pytest.mark.parametrize(("grid", "count", "apart"), [(2, 24, 2), (2, 4, 4), (3, 9, 8)])
def test_orders_differ_and_few_of_them_differ_in_many_places(grid, count, apart):
    orders = KIND(grid=grid, permutations=count).orders
    assert all(sorted(one) == list(range(grid**2)) for one in orders.tolist())
    distances = (orders[:, None] != orders).sum(-1) + 99 * torch.eye(count, dtype=torch.long)
    assert int(distances.min()) >= apart


def test_loss_and_metrics_are_of_the_drawn_orders():
    x, rng = torch.randn(50, 1, 4, 4), torch.Generator()
    order = torch.randint(6, (50,), generator=rng.manual_seed(3))
    logits = torch.nn.functional.one_hot(order, 6).float() * math.log(5)  # 5 of 10, the others 1 of 10 each
    logits[:10] = 0
    one, batch, seen = KIND(permutations=6), Batch({"input": x}), []

    def call(_, pictures):
        seen.append(pictures)
        return logits

    expected = (40 * math.log(2) + 10 * math.log(6)) / 50
    (loss,) = one.terms("train", call, batch, rng.manual_seed(3)).values()
    found = one.evaluate(call, batch, rng.manual_seed(3))
    assert float(loss) == pytest.approx(expected)
    assert float(found["loss"]) == pytest.approx(expected)
    assert float(found["accuracy"]) == pytest.approx((40 + int((order[:10] == 0).sum())) / 50)
    assert all(torch.equal(one.shuffled(x, order), pictures) for pictures in seen)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[1, 4, 4]", "[1, 4, 5]", "jigsaw cuts (1, 4, 5) into 2 by 2 pieces, which are not equal"),
        ("permutations: 6", "permutations: 25", "4 pieces lie in 24 orders, and `permutations` is 25"),
        ("{linear: 6}", "{linear: 5}", "the network `network` ends in (5,), and jigsaw takes (6,)"),
    ],
)
def test_a_mistake_is_a_sentence(old, new, sentence):
    with pytest.raises(SpecError) as raised:
        runner.prepare(experiment_of(SPEC.replace(old, new)))
    assert sentence in str(raised.value)
    assert len(raised.value.problems) == 1  # and its hint, which is no problem of its own


def test_a_training_that_was_cut_off_goes_on_to_the_same_bits(tmp_path):
    assert_it_goes_on(experiment_of(SPEC), tmp_path)


def test_pieces_of_a_ramp_are_put_in_order_and_those_of_noise_are_not(tmp_path):
    """A picture of values that grow tells its order; independent ones cannot."""
    learned = (
        SPEC.replace("epochs: 3", "epochs: 60").replace("adam: 1e-2", "adam: 3e-2").replace("save_every: 1, ", "")
    )
    noise = runner.run(experiment_of(learned), tmp_path).results[0].metrics["valid/accuracy"]
    assert noise < 0.6
    ramp = torch.arange(16.0).view(1, 1, 4, 4) / 8 + 0.1 * torch.randn(64, 1, 4, 4, generator=torch.Generator())
    torch.save({"x": ramp, "y": torch.zeros(64, dtype=torch.long)}, tmp_path / "a.pt")
    arrays = learned.replace(
        "{synthetic: {shape: [1, 4, 4], classes: 3, train: 40, valid: 8}}",
        f"{{arrays: {{path: {tmp_path}/a.pt, valid: 16}}}}",
    )
    assert runner.run(experiment_of(arrays), tmp_path).results[0].metrics["valid/accuracy"] > 0.9
