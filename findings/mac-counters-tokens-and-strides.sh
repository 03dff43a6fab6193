#!/bin/sh
# Packages   torchinfo 1.8.0, thop 0.1.1.post2209072238, with torch 2.13.0
# Do         torchinfo counts a linear layer once, however many tokens it runs on; both count a transposed convolution as if
#            each output position saw the whole kernel; thop has no parameters for a layer that is not inside a module
# Seen       nn.Linear(8, 20) on 10 tokens: torchinfo 180 (1,600 products, 1,800 with biases).
#            nn.ConvTranspose2d(4, 6, 2, stride=2) on 8x8: torchinfo 26,112, thop 24,576 (6,144 products: torch's own counter).
#            thop of a bare nn.Conv2d(3, 16, 3): 0 parameters (448); of the same inside nn.Sequential: 448
# One would  guess that a count grows with the tokens, and that the stride of a transposed convolution matters
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torchinfo==1.8.0 \
    thop==0.1.1.post2209072238
"$folder/venv/bin/python" - <<'PY'
import thop
import torch
import torchinfo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def by_torchinfo(module, *shape) -> int:
    return torchinfo.summary(module, input_data=torch.zeros(1, *shape), verbose=0).total_mult_adds


def by_thop(module, *shape) -> tuple[int, int]:
    macs, params = thop.profile(module, (torch.zeros(1, *shape),), verbose=False)
    return int(macs), int(params)


def by_torch(module, *shape) -> int:
    with FlopCounterMode(display=False) as flops:
        module(torch.zeros(1, *shape))
    return flops.get_total_flops() // 2


linear, up, conv = nn.Linear(8, 20), nn.ConvTranspose2d(4, 6, 2, stride=2), nn.Conv2d(3, 16, 3, padding=1)
seen = {
    "linear": (by_torchinfo(linear, 10, 8), by_torch(linear, 10, 8)),
    "transposed": (by_torchinfo(up, 4, 8, 8), by_torch(up, 4, 8, 8), by_thop(up, 4, 8, 8)[0]),
    "bare": by_thop(nn.Conv2d(3, 16, 3, padding=1), 3, 8, 8),
    "inside": by_thop(nn.Sequential(conv), 3, 8, 8),
}
print(seen)
assert seen["linear"] == (180, 1600), seen["linear"]
assert seen["transposed"] == (26112, 6144, 24576), seen["transposed"]
assert seen["bare"] == (27648, 0), seen["bare"]
assert seen["inside"] == (27648, 448), seen["inside"]
PY
