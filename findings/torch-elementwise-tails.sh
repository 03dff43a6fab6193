#!/bin/sh
# Package    torch 2.13.0 on a CPU, one thread, float32
# Does       computes the last elements of a tensor, those that fill no vector, by other code than the rest; for some functions
#            the two do not round alike
# Seen       each of 2,000 values alone and inside a tensor of 4,096: sigmoid differs in 77, silu in 84, softplus in 277,
#            gelu in 398; tanh, exp and sin in none
# One would  guess that an elementwise result depends on its element alone, so that a batch of one gives the bits of a row
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.nn import functional

torch.set_num_threads(1)
torch.manual_seed(0)
x = torch.randn(4096)


def differing(function) -> int:
    whole = function(x)
    return sum(bool(function(x[i : i + 1].clone()) != whole[i : i + 1]) for i in range(2000))


kinds = (torch.sigmoid, functional.silu, functional.softplus, functional.gelu, torch.tanh, torch.exp, torch.sin)
seen = {kind.__name__: differing(kind) for kind in kinds}
print(seen)
assert all(seen[name] > 0 for name in ("sigmoid", "silu", "softplus", "gelu")), seen
assert all(seen[name] == 0 for name in ("tanh", "exp", "sin")), seen
PY
