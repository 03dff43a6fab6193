#!/bin/sh
# Packages   torch 2.13.0 on a CPU with oneDNN
# Do         take ReLU and maxima of windows of a tensor with NaN, once plain and once in oneDNN's layout (`to_mkldnn`)
# Seen       plain tensors keep NaN, as torch promises for both. In oneDNN's layout ReLU gives 0 for NaN, a maximum leaves
#            NaN out, and a window of NaN alone gives -3.4e38; tanh, GELU and means keep NaN. So a network that has diverged
#            looks well behind its first ReLU
# One would  guess that a layout in memory changes no values, or that all functions of that layout treat NaN alike
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import torch.nn.functional as F

x = torch.ones(2, 6, 4, 4)
x[0, 0, 0, 0] = float("nan")  # one value of a window
x[1, :, :2, :2] = float("nan")  # whole windows
pooled = {"relu": torch.relu, "max_pool2d": lambda t: torch.max_pool2d(t, 2, 2)}
others = {"tanh": torch.tanh, "gelu": F.gelu, "avg_pool2d": lambda t: F.avg_pool2d(t, 2, 2)}
for name, function in (pooled | others).items():
    plain, blocks = function(x), function(x.to_mkldnn()).to_dense()
    print(f"{name}: {int(plain.isnan().sum())} NaN of a plain tensor, {int(blocks.isnan().sum())} in oneDNN's layout")
    assert plain.isnan().any(), name
    assert bool(blocks.isnan().any()) == (name in others), name
print("instead of a window of NaN alone:", float(torch.max_pool2d(x.to_mkldnn(), 2, 2).to_dense()[1, 0, 0, 0]))
assert float(torch.max_pool2d(x.to_mkldnn(), 2, 2).to_dense()[1, 0, 0, 0]) < -3e38
PY
