"""Optimizers are torch's own, to the bit, without the weight of torch.compile; all of them can be interrupted."""

import inspect
import io
import subprocess
import sys
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from dlx.optim import OPTIMIZERS
from dlx.optim.sgd import SGD

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {},
        {"lr": 0.1},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.1},
        {"momentum": 0.9, "nesterov": True},
        {"lr": 0.1, "weight_decay": 0.01},
    ],
    "gradient_descent": [{}, {"lr": 0.1, "weight_decay": 0.01}],
    "rprop": [{}, {"lr": 0.1, "etas": [0.4, 1.3], "step_sizes": [1e-3, 1.0]}],
    "adam": [{}, {"lr": 0.1, "betas": [0.5, 0.9], "eps": 1e-3}, {"weight_decay": 0.1, "amsgrad": True}],
    "adamw": [{}, {"lr": 0.1, "weight_decay": 0.3}, {"amsgrad": True}],
    "nadam": [
        {},
        {"weight_decay": 0.1, "momentum_decay": 0.1},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
    ],
    "radam": [{}, {"weight_decay": 0.1, "betas": [0.5, 0.9]}, {"weight_decay": 0.1, "decoupled_weight_decay": True}],
    "adamax": [{}, {"weight_decay": 0.1, "eps": 1e-3}],
    "adagrad": [{}, {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}],
    "adadelta": [{}, {"lr": 0.5, "rho": 0.5, "weight_decay": 0.1}],
    "rmsprop": [{}, {"alpha": 0.9, "momentum": 0.9}, {"centered": True, "weight_decay": 0.1}],
}
"""Kinds that torch has, with settings that torch has."""
OTHERS: dict[str, list[dict[str, Any]]] = {
    "momentum": [{}, {"bias_correction": True, "weight_decay": 0.1}, {"nesterov": True}],
    "adam": [{"bias_correction": False}, {"eps_inside": True, "weight_decay": 0.1}],
    "adamw": [{"eps_inside": True}],
    "adagrad": [{"eps_inside": True}],
    "rmsprop": [{"eps_inside": True}],
    "muon": [{}, {"rest": {"sgd": {"momentum": 0.9}}, "nesterov": False}],
    "lbfgs": [{}, {"history_size": 3, "max_iter": 5}, {"line_search_fn": "strong_wolfe"}],
    "newton": [{"damping": 0.1}],
    "random_search": [{"lr": 0.01}, {"lr": 0.1, "local": False}],
    "sgld": [{"temperature": 0.1}, {"temperature": 0.0, "weight_decay": 0.1}],
    "sam": [{}, {"adaptive": True, "base": {"adam": {"weight_decay": 0.1}}}],
}
CASES = [(kind, options) for kind, many in SETTINGS.items() for options in many]
ALL = CASES + [(kind, options) for kind, many in OTHERS.items() for options in many]


def weights() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(4, 3, requires_grad=True), torch.randn(7, requires_grad=True)]


def moved(optimizer_of, steps=5) -> list[torch.Tensor]:
    ws = weights()
    optimizer = optimizer_of(ws)
    for _ in range(steps):
        for weight in ws:
            weight.grad = torch.randn_like(weight)
        optimizer.step()
    return ws


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_steps_are_torchs_to_the_bit(kind, options):
    cls = OPTIMIZERS[kind]
    named = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    fused = {"fused": True} if cls.fused else {}
    mine = moved(cls.model_validate(options).build)
    torchs = moved(lambda w: getattr(torch.optim, cls.torch_name)(w, **fused, **{"lr": cls().lr, **named}))
    assert all(torch.equal(a, b) for a, b in zip(mine, torchs, strict=True))


@pytest.mark.parametrize("kind", [kind for kind in sorted(OPTIMIZERS) if OPTIMIZERS[kind].torch_name])
def test_names_and_defaults_are_torchs(kind):
    cls = OPTIMIZERS[kind]
    theirs = inspect.signature(getattr(torch.optim, cls.torch_name)).parameters
    for name, info in cls.model_fields.items():
        if name not in cls.own:
            default = info.default
            assert (tuple(default) if isinstance(default, list) else default) == theirs[name].default, name


def test_every_optimizer_is_in_these_tests():
    assert set(OPTIMIZERS) == {kind for kind, _ in ALL}


def bowl(ws: list[torch.Tensor]) -> torch.Tensor:
    """A loss with one minimum, which is no quadratic, and whose gradient pulls unevenly."""
    return sum((torch.cosh(w / 2) * torch.arange(1, w.numel() + 1).view_as(w)).sum() for w in ws)


def step(declared, optimizer, ws) -> None:
    """One step in the way that the optimizer wants it."""

    def gradients() -> torch.Tensor:
        for w in ws:
            w.grad = None
        loss = bowl(ws)
        loss.backward()
        return loss.detach()

    if declared.takes == "gradient":
        gradients()
        optimizer.step()
    else:
        optimizer.step(gradients if declared.takes == "closure" else lambda: bowl(ws))


def on_disk(state: Any) -> Any:
    """What is left of a state after it was written and read, by a reader that takes plain data only."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(("kind", "options"), ALL)
def test_six_steps_are_three_and_three_more_after_a_restart(kind, options):
    declared = OPTIMIZERS[kind].model_validate(options)
    straight, broken = weights(), weights()
    torch.manual_seed(1)
    optimizer = declared.build(straight)
    first = [w.clone() for w in straight]
    for _ in range(6):
        step(declared, optimizer, straight)
    assert not any(torch.equal(a, b) for a, b in zip(straight, first, strict=True))

    torch.manual_seed(1)
    optimizer = declared.build(broken)
    for _ in range(3):
        step(declared, optimizer, broken)
    saved = on_disk({"weights": broken, "optimizer": optimizer.state_dict()})
    torch.manual_seed(2)  # what is drawn from now on is no part of the state
    again = [w.detach().clone().requires_grad_() for w in saved["weights"]]
    optimizer = declared.build(again)
    optimizer.load_state_dict(saved["optimizer"])
    for _ in range(3):
        step(declared, optimizer, again)
    assert all(torch.equal(a, b) for a, b in zip(straight, again, strict=True))


@pytest.mark.parametrize(("kind", "options"), ALL)
def test_every_optimizer_makes_the_loss_smaller(kind, options):
    declared = OPTIMIZERS[kind].model_validate(options)
    ws = weights()
    optimizer, before = declared.build(ws), bowl(ws).item()
    for _ in range(20):
        step(declared, optimizer, ws)
    assert bowl(ws).item() < before


def held(state: Any, size: int) -> int:
    """Values in tensors that are as large as the weights, however deep they lie."""
    if torch.is_tensor(state):
        return state.numel() if state.numel() == size else 0
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(held(value, size) for value in values)


@pytest.mark.parametrize(("kind", "options"), ALL)
def test_the_state_forecast_is_what_is_kept(kind, options):
    declared = OPTIMIZERS[kind].model_validate(options)
    torch.manual_seed(0)
    ws = [torch.randn(10, requires_grad=True)]
    optimizer = declared.build(ws)
    for _ in range(20 if kind == "lbfgs" and "history_size" in options else 1):
        step(declared, optimizer, ws)
    stored = held(dict(optimizer.state), 10)
    if kind == "lbfgs" and "history_size" not in options:
        assert stored <= 10 * declared.state  # the history is not full yet
    else:
        assert stored == 10 * declared.state


def test_nesterov_without_momentum_is_refused_in_a_sentence():
    with pytest.raises(ValidationError, match="nesterov needs a momentum above 0 and no dampening"):
        SGD(nesterov=True)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("momentum", {"nesterov": True, "bias_correction": True}, "nesterov and bias_correction do not go together"),
        ("adam", {"amsgrad": True, "eps_inside": True}, "amsgrad goes with bias_correction, and with eps outside"),
        ("adagrad", {"eps_inside": True, "lr_decay": 1.0}, "eps_inside goes without lr_decay"),
        ("rmsprop", {"eps_inside": True, "centered": True}, "eps_inside goes without momentum and centered"),
        ("rprop", {"etas": [1.1, 1.2]}, "etas must lie on both sides of 1, not 1.1 and 1.2"),
        ("muon", {"rest": "lbfgs"}, "`rest` must be an optimizer that takes one gradient a step, not lbfgs"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_a_sentence(kind, options, sentence):
    with pytest.raises(ValidationError, match=sentence):
        OPTIMIZERS[kind].model_validate(options)


def test_the_compiler_is_not_imported_for_a_step_or_a_checkpoint():
    code = (
        "import torch, sys; from dlx.optim import OPTIMIZERS\n"
        "w = torch.zeros(3, 3, requires_grad=True)\n"
        "def closure():\n    w.grad = torch.ones(3, 3); return w.sum()\n"
        "for kind in sorted(OPTIMIZERS):\n"
        "    needed = {'newton': {'damping': 1}, 'sgld': {'temperature': 1.0}}.get(kind, {})\n"
        "    o = OPTIMIZERS[kind].model_validate(needed).build([w])\n"
        "    closure(); o.step(closure); o.load_state_dict(o.state_dict()); o.zero_grad()\n"
        "    assert 'torch._dynamo' not in sys.modules, kind"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
