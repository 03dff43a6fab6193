"""Receipts of losses, gradients and updates: values by hand, batches, modes, and what cannot be asked."""

from __future__ import annotations

import pytest
import torch
from helpers import experiment_of

from dlx.claims import verify
from dlx.graph import trace_all
from dlx.graph.expect import misread

SPEC = """\
dlx: 1
name: net
network:
  inputs: {{x: [2]}}
  layers:
    - {{linear: 2, name: hidden, values: {{weight: [[1, 1], [1, -1]], bias: [0, 1]}}}}
    - {{relu: {{}}, name: active}}
    - {{linear: 1, name: last, values: {{weight: [[2, 3]], bias: 0}}}}
{more}
expect:
{claims}
"""
SQUARES = "objective: {regression: {loss: {squared_error: {reduction: sum}}}}"


def receipts_of(claims: str, more: str = SQUARES, spec: str = SPEC):
    experiment = experiment_of(spec.format(more=more, claims=claims))
    return verify.receipts_of(experiment, trace_all(experiment))


def ours(claims: str, more: str = SQUARES):
    (receipt,) = receipts_of(claims, more)
    assert receipt.verdict == "holds", receipt.why
    return receipt.ours


@pytest.mark.parametrize(
    ("claims", "by_hand"),
    [
        ("  loss: {at: [1, 2], target: [5], is: 1}", 1),  # hidden (3, 0), out 6
        ("  loss: {at: [1, 2], target: 5, is: 1}", 1),
        ("  loss: {at: [[1, 2], [2, 1]], target: [5, 10], is: 5}", 5),  # 1 + (12 - 10)^2
        ("  gradient: {at: [1, 2], target: 5, by: last, is: 2}", 2),
        ("  gradient: {at: [1, 2], target: 5, by: last/weight, is: [[6, 0]]}", [[6, 0]]),
        ("  gradient: {at: [1, 2], target: 5, by: last.bias, is: 2}", [2]),
        ("  gradient: {at: [1, 2], target: 5, by: active, is: [4, 6]}", [4, 6]),
        ("  gradient: {at: [1, 2], target: 5, by: hidden/weight, is: [[4, 8], [0, 0]]}", [[4, 8], [0, 0]]),
        ("  gradient: {at: [1, 2], target: 5, by: x, is: [4, 4]}", [4, 4]),
        ("  gradient: {at: [2, 1], by: x, is: [5, -1]}", [5, -1]),
        ("  gradient: {at: [2, 1], of: last, by: hidden, is: [2, 3]}", [2, 3]),
        ("  gradient: {at: [[1, 2], [2, 1]], by: x, is: [[2, 2], [5, -1]]}", [[2, 2], [5, -1]]),
        ("  gradient: {at: [[1, 2], [2, 1]], by: last/weight, is: [[6, 2]]}", [[6, 2]]),
        ("  gradient: {at: [1, 2], of: last, by: last, is: 1}", 1),
        ("  output: {at: [[1, 2], [2, 1]], is: [[6], [12]]}", [[6], [12]]),
    ],
)
def test_values_by_hand(claims, by_hand):
    assert ours(claims) == by_hand


def test_a_gradient_is_that_of_torch_for_any_weights():
    """Against autograd on the same network written down in torch, in float64."""
    torch.manual_seed(3)
    w, x = torch.randn(2, 2, dtype=torch.float64), torch.randn(2, dtype=torch.float64)
    layers = f"  layers: [{{linear: {{out_features: 2, bias: false}}, values: {{weight: {w.tolist()}}}}}, tanh]"
    spec = f"network:\n  inputs: {{x: [2]}}\n{layers}\n{SQUARES}\nexpect:\n  gradient: {{claim}}\n"
    weight = w.requires_grad_()
    ((weight @ x).tanh() - torch.tensor([1.0, 0.0], dtype=torch.float64)).square().sum().backward()
    claim = f"{{at: {x.tolist()}, target: [1, 0], by: linear_1/weight, is: {weight.grad.tolist()}, within: 1e-14}}"
    experiment = experiment_of(spec.replace("{claim}", claim))
    assert [r.verdict for r in verify.receipts_of(experiment, trace_all(experiment))] == ["holds"]


def test_what_the_objective_adds_for_the_weights_belongs_to_the_loss():
    """The weights are 1, 1, 1, -1, 2, 3, whose squares sum up to 17 and sizes to 9; the output is the target."""
    more = "objective: {regression: {l2: 0.5, l1: 1}}"
    assert ours("  loss: {at: [1, 2], target: [6], is: 17.5}", more) == 17.5


def test_a_frozen_weight_has_a_gradient_too():
    assert ours("  gradient: {at: [1, 2], target: 5, by: last/bias, is: 2}", f"{SQUARES}\nfreeze: [last]") == [2]


NORM = """\
network:
  inputs: {{z: [1, 4]}}
  layers: [{{batch_norm: {{eps: 1e-12}}, name: norm}}, {{dropout: 0.5}}]
expect:
{claims}
"""


def test_in_training_a_batch_norm_has_the_statistics_of_the_batch_and_leaves_none_behind():
    claims = (
        "  output:\n    - {at: [[1, 2, 3, 4]], mode: train, of: norm, "
        "is: [[-1.3416408, -0.4472136, 0.4472136, 1.3416408]]}\n"
        "    - {at: [[1, 2, 3, 4]], is: [[1, 2, 3, 4]]}\n"
    )
    assert [r.verdict for r in receipts_of(claims, spec=NORM)] == ["holds", "holds"]


TRAIN = f"""{SQUARES}
freeze: [hidden]
train:
  steps: 2
  batch_size: 1
  optimizer: {{sgd: 0.1}}
  schedule: {{multi_step: {{milestones: [1], unit: step, gamma: 0.5}}}}
"""


@pytest.mark.parametrize(("steps", "by_hand"), [(0, 0.0), (1, -0.2), (2, -0.9)])
def test_weights_move_as_in_training_example_by_example(steps, by_hand):
    """The last layer alone: out = 2 a + 3 b + bias; the first step has a rate of 0.1, the second of 0.05.

    Step 1: out 6, asked 5, gradient 2 by the bias, (6, 0) by the weights: bias -0.2, weights (1.4, 3).
    Step 2, at (2, 1): hidden (3, 2), out 4.2 + 6 - 0.2 = 10, asked 3: gradient 14 by the bias.
    """
    claim = f"{{steps: {steps}, at: [[1, 2], [2, 1]], target: [5, 3], of: last/bias, is: {by_hand}}}"
    assert ours(f"  weights_after: {claim}", TRAIN) == pytest.approx([by_hand])


@pytest.mark.parametrize(
    ("claims", "more", "sentence"),
    [
        ("loss: {at: [1, 2], target: 5, is: 0}", "", "there is no `objective` that could have a loss"),
        ("loss: {at: [1, 2], target: [5, 6], is: 0}", SQUARES, "`target` has the shape (2,), and the output (1,)"),
        ("loss: {at: [[1, 2], [3, 4]], target: [5], is: 0}", SQUARES, "`at` has 2 samples, and `target` 1"),
        (
            "loss: {at: [1, 2], target: 0.5, is: 0}",
            "objective: classification",
            "wants class numbers, from 0 on, not 0.5",
        ),
        (
            "loss: {at: [1, 2], target: cat, is: 0}",
            SQUARES,
            '`target` wants numbers in rows of one length, not "cat"',
        ),
        (
            "gradient: {at: [1, 2], of: hidden, by: x, is: 0}",
            SQUARES,
            "`hidden` has the shape (2,), and a gradient is of",
        ),
        ("gradient: {at: [1, 2], by: nothing/weight, is: 0}", SQUARES, "there is no `nothing/weight`"),
        (
            "weights_after: {steps: 1, at: [1, 2], target: 0, of: last/bias, is: 0}",
            SQUARES,
            "there is no `train` that",
        ),
        (
            "weights_after: {steps: 3, at: [1, 2], target: 0, of: last/bias, is: 0}",
            f"{SQUARES}\ntrain: {{steps: 2}}",
            "the training has 2 steps",
        ),
        (
            "weights_after: {steps: 1, at: [1, 2], target: 0, of: last/weigth, is: 0}",
            f"{SQUARES}\ntrain: {{steps: 2}}",
            "there is no weight `last/weigth`; there are hidden/weight",
        ),
    ],
)
def test_what_cannot_be_worked_out_is_said(claims, more, sentence):
    (receipt,) = receipts_of(f"  {claims}", more)
    assert receipt.verdict == "FAILS"
    assert sentence in receipt.why


def test_of_several_outputs_one_is_named():
    spec = (
        "network:\n  inputs: {{x: [1]}}\n  outputs: {{a: relu_1, b: tanh_1}}\n  layers: [{{relu: {{}}, from: x}}, "
        "{{tanh: {{}}, from: x}}]\nexpect:\n{claims}\n"
    )
    first, second = receipts_of("  gradient: [{at: 2, by: x, is: 1}, {at: 2, by: x, of: relu_1, is: 1}]", spec=spec)
    assert "the network has the outputs a, b, and a gradient is of one" in first.why
    assert second.verdict == "holds"


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ("loss: {at: [1, 2], is: 3}", "`loss` wants `target`"),
        ("gradient: {at: [1, 2]}", "`gradient` wants `by` and `is`"),
        (
            "gradient: {at: 1, target: 1, of: last, by: x, is: 3}",
            "a gradient is of the loss for a `target`, or `of` a node",
        ),
        ("gradient: {at: 1, by: 3, is: 3}", "`by` must name a node or weight, not 3"),
        ("output: {at: 1, is: 3, mode: test}", '`mode` must be train or eval, not "test"'),
        (
            "weights_after: {steps: -1, at: 1, target: 1, of: last/bias, is: 1}",
            "`steps` must be a whole number from 0",
        ),
        ("weights_after: {at: 1, target: 1, of: last/bias, is: 1}", "`weights_after` wants `steps`"),
        ("loss: {at: 1, target: 1, is: 3, by: x}", "a claim has no `by`"),
    ],
)
def test_claims_that_no_one_could_check_are_reported(claim, sentence):
    problems = misread(experiment_of(SPEC.format(more=SQUARES, claims=f"  {claim}")))
    assert sentence in " ".join(problem.message for problem in problems)


def test_a_claim_reads_as_a_row():
    claims = "  gradient: {at: [1, 2], target: 5, by: last/bias, is: 2}\n  loss: {at: [1, 2], target: 5, is: 1}"
    assert [r.claim.title for r in receipts_of(claims)] == [
        "gradient by last/bias at [1, 2] for 5",
        "loss at [1, 2] for 5",
    ]


RANDOM_WEIGHTS = """\
network:
  inputs: {{x: [2]}}
  outputs: [a, b]
  layers:
    - {{linear: 2, name: hidden}}
    - {{dropout: 0.5, name: dropped}}
    - {{linear: 1, name: a}}
    - {{gaussian_noise: 0.1, name: noise, from: x}}
    - {{linear: 1, name: b, values: {{weight: 1, bias: 0}}}}
    - {{linear: 1, name: unseen, values: {{weight: 0, bias: 0}}, from: hidden}}
{more}
expect:
{claims}
"""
BOTH = "objective: regression\ntrain: {steps: 1, batch_size: 1, optimizer: sgd}"
WAYS_OUT = "Set them with `values`, or by an `init` that draws nothing, such as `constant`."


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        (
            "output: {at: [1, 2], of: hidden, is: 0, within: 100}",
            f"it is one draw of many: nothing sets hidden/weight and hidden/bias. {WAYS_OUT}",
        ),
        ("output: {at: [1, 2], of: a, is: 0}", "nothing sets hidden/weight, hidden/bias, a/weight and a/bias."),
        ("gradient: {at: [1, 2], of: a, by: x, is: 0}", "it is one draw of many: nothing sets hidden/weight"),
        (
            "output: {at: [1, 2], of: dropped, is: 0, mode: train}",
            "dropped draws anew in each pass. Claim it in `mode: eval`, or leave out what draws.",
        ),
        ("output: {at: [1, 2], of: b, is: 3, mode: train}", "it is one draw of many: noise draws anew in each pass."),
        ("gradient: {at: [1, 2], of: b, by: noise, is: 1, mode: train}", "noise draws anew in each pass."),
    ],
)
def test_a_figure_that_follows_from_one_draw_is_no_receipt(claims, sentence):
    (receipt,) = receipts_of(f"  {claims}", BOTH, RANDOM_WEIGHTS)
    assert (receipt.verdict, receipt.ours) == ("FAILS", None)
    assert sentence in receipt.why


ONE = "network:\n  inputs: {{x: [2]}}\n  layers: LAYERS\n{more}\nexpect:\n  {claims}\n"
WITH_VALUES = "{{linear: 1, name: only, values: {{weight: 0, bias: 0}}}}"


@pytest.mark.parametrize(
    ("layers", "claims", "why"),
    [
        (
            "[{{linear: 1, name: only}}]",
            "loss: {at: [1, 2], target: 5, is: 0}",
            "nothing sets only/weight and only/bias",
        ),
        (f"[{WITH_VALUES}, dropout]", "loss: {at: [1, 2], target: 5, is: 0, mode: train}", "dropout_1 draws anew"),
        (
            f"[{WITH_VALUES}, dropout]",
            "weights_after: {steps: 1, at: [1, 2], target: 5, of: only/bias, is: 0}",
            "dropout_1 draws anew in each pass. Leave out what draws.",
        ),
        (
            "[{{linear: 1, name: only}}]",
            "weights_after: {steps: 1, at: [1, 2], target: 5, of: only/bias, is: 0}",
            "nothing sets only/weight and only/bias",
        ),
    ],
)
def test_losses_and_updates_that_follow_from_one_draw_are_no_receipts_either(layers, claims, why):
    (receipt,) = receipts_of(claims, BOTH, ONE.replace("LAYERS", layers))
    assert receipt.verdict == "FAILS"
    assert why in receipt.why


@pytest.mark.parametrize(
    "claims",
    [
        "output: {at: [1, 2], of: b, is: 3}",
        "output: {at: [1, 2], of: unseen, is: 0, mode: train}",  # whatever `hidden` is, its weights are zero
        "gradient: {at: [1, 2], of: b, by: x, is: [1, 1]}",
        "gradient: {at: [1, 2], of: unseen, by: x, is: 0}",
    ],
)
def test_what_no_draw_changes_holds_beside_random_weights_and_layers(claims):
    (receipt,) = receipts_of(f"  {claims}", BOTH, RANDOM_WEIGHTS)
    assert receipt.verdict == "holds", receipt.why


def test_weights_that_an_initialiser_sets_without_drawing_are_exact():
    spec = ONE.replace("LAYERS", "[{{linear: 1}}]")
    (receipt,) = receipts_of("output: {at: [1, 2], is: 7}", "init: {constant: {value: 2, bias: 1}}", spec)
    assert receipt.verdict == "holds", receipt.why


TWO = """\
dlx: 1
name: net
network:
  inputs: {{a: [1], b: [2]}}
  layers:
    - {{linear: 1, name: p, from: a, values: {{weight: [[1]], bias: 0}}}}
    - {{linear: 1, name: q, from: b, values: {{weight: [[1, 1]], bias: 0}}}}
    - {{concat: , name: both, from: [a, b]}}
    - {{linear: 1, name: last, values: {{weight: [[1, 1, 1]], bias: 0}}}}
  outputs: {outputs}
objective: {objective}
train: {{steps: 2, batch_size: all, optimizer: {{sgd: 0.1}}}}
expect:
  weights_after: {{steps: 1, at: {{a: [1], b: [2, 3]}}, target: {target}, of: {of}, is: {value}}}
"""
HEADS = "{p: {regression: {weight: 2}}, q: regression}"
LEARNED = "{heads: {of: {p: regression, q: regression}, weighting: uncertainty}}"


@pytest.mark.parametrize(
    ("outputs", "objective", "target", "of", "by_hand", "wrong"),
    [
        # 6 in place of 10: the gradient is 2 (6 - 10) x
        ("last", "regression", "[10]", "last/weight", [[1.8, 2.6, 3.4]], [[3.4, 2.6, 1.8]]),
        # 2 (1 - 3)^2 and (5 - 4)^2: the gradients are -8 and 2 (2, 3)
        ("[p, q]", HEADS, "{p: [3], q: [4]}", "p/weight", [[1.8]], [[1.4]]),
        ("[p, q]", HEADS, "{p: [3], q: [4]}", "q/weight", [[0.6, 0.4]], [[0.4, 0.6]]),
        # exp(-s) L / 2 + s / 2 with L = 4: the gradient is (1 - 4) / 2
        ("[p, q]", LEARNED, "{p: [3], q: [4]}", "objective/p", 0.15, -0.15),
    ],
)
def test_an_update_of_several_inputs_and_heads_by_hand(outputs, objective, target, of, by_hand, wrong):
    def verdict(value: object) -> str:
        parts = {"outputs": outputs, "objective": objective, "target": target, "of": of, "value": value}
        experiment = experiment_of(TWO.format(**parts))
        (receipt,) = verify.receipts_of(experiment, trace_all(experiment))
        return receipt.verdict

    assert verdict(by_hand) == "holds"
    assert verdict(wrong) in {"FAILS", "book wrong"}


def test_an_update_takes_the_samples_as_they_are_written_whatever_the_training_draws():
    claim = "{steps: 1, at: [[1, 2], [2, 1]], target: [[5], [10]], of: last/bias, is: 0}"
    found = [
        receipts_of(f"  weights_after: {claim}", f"{SQUARES}\ntrain: {{steps: 1, batch_size: 2{more}}}")[0].ours
        for more in ("", ", bootstrap: true", ", sampling: weights")
    ]
    assert found[0] == found[1] == found[2] != [0.0]
