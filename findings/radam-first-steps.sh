#!/bin/sh
# Packages   torch 2.13.0 (torch.optim.RAdam), pytorch-optimizer 4.1.0 (RAdam), both at lr 0.1 and their defaults
# Do         while the variance is not yet trustworthy (the first 5 steps at beta2 0.999), torch steps along the momentum
#            without the adaptive part; pytorch-optimizer does not step at all unless degenerated_to_sgd=True
# Seen       weight 1, gradient 0.5 at each step: torch 0.95, 0.9, 0.85, 0.8, 0.75; pytorch-optimizer 1, 1, 1, 1, 1
# One would  guess that two implementations of one paper take the same first step
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pytorch-optimizer==4.1.0
"$folder/venv/bin/python" - <<'PY'
import pytorch_optimizer
import torch


def five(optimizer_class) -> list[float]:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = optimizer_class([weight], lr=0.1)
    seen = []
    for _ in range(5):
        weight.grad = torch.full_like(weight, 0.5)
        optimizer.step()
        seen.append(round(weight.item(), 4))
    return seen


seen = five(torch.optim.RAdam), five(pytorch_optimizer.load_optimizer("radam"))
print("torch", seen[0], "pytorch-optimizer", seen[1])
assert seen == ([0.95, 0.9, 0.85, 0.8, 0.75], [1.0] * 5), seen
PY
