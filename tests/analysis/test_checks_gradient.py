"""The gradient check finds wrong derivatives and lets kinks be."""

from __future__ import annotations

import pytest
import torch
from doctored import ONE_KINK, make_probe, outcome

from dlx.analysis.doctor.checks_gradient import _compare_derivatives, relative_error
from dlx.layers.activation_rectified import ReLU
from dlx.layers.activation_smooth import SiLU


def twisted(factor: float):
    """A ReLU whose backward pass gives `factor` times what it should."""

    class Twisted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp_min(0)

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            return factor * gradient * (x > 0)

    class Module(torch.nn.Module):
        def forward(self, x):
            return Twisted.apply(x)

    return lambda self, *xs: Module()


def test_the_relative_error_is_that_of_the_notes():
    """|a - n| / max(|a|, |n|): CS231n, neural networks 3."""
    assert relative_error(1.0, 1.01) == pytest.approx(0.01 / 1.01)
    assert relative_error(-2.0, 2.0) == 2
    assert relative_error(0.0, 0.0) == 0
    assert relative_error(1e-12, -1e-12, noise=1e-11) == 0


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "softplus", "{dropout: 0.5}", "batch_norm"])
def test_torchs_gradients_are_right(activation):
    found = outcome("gradient check", f"[{{linear: 16}}, {activation}, {{linear: 3}}]")
    assert (found.verdict, found.finding) == ("ok", "")
    assert found.expected == "relative error below 0.0001"


@pytest.mark.parametrize(("factor", "verdict"), [(1.5, "wrong"), (1.005, "look"), (1.0, "ok")])
def test_a_wrong_backward_pass_is_found_and_placed(monkeypatch, factor, verdict):
    monkeypatch.setattr(ReLU, "module", twisted(factor))
    found = outcome("gradient check", "\n- linear: 16\n- relu\n- linear: 3\n")
    assert found.verdict == verdict
    if verdict != "ok":
        assert found.finding.startswith("the derivative by a weight of `linear_1` is ")
        assert found.hint == "Look at the backward pass of `linear_1` and of `relu_1`."
        assert found.mark.line == 5
        error = float(found.finding.split()[-1])
        assert error == pytest.approx(1 - 1 / factor, rel=0.05)


def test_a_weight_at_a_kink_is_skipped():
    probe = make_probe(*ONE_KINK)
    found, kinks = _compare_derivatives(probe, tries=100)
    assert kinks == 4  # the four draws of the one weight
    assert not found
    assert outcome("gradient check", *ONE_KINK).expected == "4 values, all at kinks"


def test_what_has_no_double_precision_is_left_out(monkeypatch):
    class Half(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.linear(x, torch.eye(x.shape[-1]))

    monkeypatch.setattr(SiLU, "module", lambda self, *xs: Half())
    found = outcome("gradient check", "[{linear: 16}, silu, {linear: 3}]")
    assert found.verdict == "not run"
    assert found.expected.startswith("no double precision here: ")
