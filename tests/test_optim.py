"""Optimizers are torch's own, to the bit, without the weight of torch.compile."""

import inspect
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError

from dlx.optim import OPTIMIZERS, SGD

SETTINGS = {
    "sgd": [
        {},
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.1},
        {"momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "weight_decay": 0.01},
    ],
    "adam": [{}, {"lr": 0.1, "betas": [0.5, 0.9], "eps": 1e-3}, {"weight_decay": 0.1, "amsgrad": True}],
    "adamw": [{}, {"lr": 0.1, "weight_decay": 0.3}, {"amsgrad": True}],
}
CASES = [(kind, options) for kind, many in SETTINGS.items() for options in many]


def moved(optimizer_of, steps=5) -> list[torch.Tensor]:
    torch.manual_seed(0)
    weights = [torch.randn(4, 3, requires_grad=True), torch.randn(7, requires_grad=True)]
    optimizer = optimizer_of(weights)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn_like(weight)
        optimizer.step()
    return weights


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_steps_are_torchs_to_the_bit(kind, options):
    cls = OPTIMIZERS[kind]
    named = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    mine = moved(cls.model_validate(options).build)
    torchs = moved(lambda w: getattr(torch.optim, cls.torch_name)(w, fused=True, **named))
    assert all(torch.equal(a, b) for a, b in zip(mine, torchs, strict=True))


@pytest.mark.parametrize("kind", sorted(OPTIMIZERS))
def test_names_and_defaults_are_torchs(kind):
    theirs = inspect.signature(getattr(torch.optim, OPTIMIZERS[kind].torch_name)).parameters
    for name, info in OPTIMIZERS[kind].model_fields.items():
        default = info.default
        assert (tuple(default) if isinstance(default, list) else default) == theirs[name].default, name


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_the_state_forecast_is_what_torch_keeps(kind, options):
    declared = OPTIMIZERS[kind].model_validate(options)
    weight = torch.randn(10, requires_grad=True)
    optimizer = declared.build([weight])
    weight.grad = torch.randn(10)
    optimizer.step()
    kept = sum(v.numel() for v in optimizer.state[weight].values() if torch.is_tensor(v) and v.shape == weight.shape)
    assert kept == 10 * declared.state


def test_momentum_by_hand():
    """g = 0.1, momentum 0.9, lr 1: v = 0.1, 0.19, 0.271, so w = -0.1, -0.29, -0.561 (CS231n notes)."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = SGD(lr=1.0, momentum=0.9).build([weight])
    seen = []
    for _ in range(3):
        weight.grad = torch.full((1,), 0.1)
        optimizer.step()
        seen.append(-weight.item())
    assert seen == pytest.approx([0.1, 0.29, 0.561])


def test_nesterov_without_momentum_is_refused_in_a_sentence():
    with pytest.raises(ValidationError, match="nesterov needs a momentum above 0 and no dampening"):
        SGD(nesterov=True)


def test_the_compiler_is_not_imported_for_a_step():
    code = (
        "import torch, sys; from dlx.optim import Adam\n"
        "w = torch.zeros(3, requires_grad=True); o = Adam().build([w]); w.grad = torch.ones(3); o.step()\n"
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
