#!/bin/sh
# Packages   torch 2.13.0 (FlopCounterMode), torchinfo 1.8.0, thop 0.1.1.post2209072238, fvcore 0.1.5.post20221221, ptflops 0.7.5
# Do         count the multiply-adds of one nn.LSTM(8, 16) over 10 steps on a CPU
# Seen       torch 0, torchinfo 16,640, thop 17,920, fvcore 0, ptflops 18,240 (backend pytorch) and 0 (backend aten);
#            the matrix products are 10 * 4 * 16 * (8 + 16) = 15,360. A GRU: 11,520 by torch, 0 by fvcore, 12,480 by aten
# One would  guess 15,360, perhaps plus biases, and a warning where a layer is not counted
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torchinfo==1.8.0 \
    thop==0.1.1.post2209072238 fvcore==0.1.5.post20221221 ptflops==0.7.5
"$folder/venv/bin/python" - <<'PY'
import contextlib
import io
import logging
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import ptflops
import thop
import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis
from torch.utils.flop_counter import FlopCounterMode


def counted(kind) -> dict[str, int]:
    x, make = torch.zeros(1, 10, 8), lambda: kind(8, 16, batch_first=True).eval()
    seen = {}
    with contextlib.redirect_stdout(io.StringIO()):
        with FlopCounterMode(display=False) as flops, torch.no_grad():
            make()(x)
        seen["torch"] = flops.get_total_flops() // 2
        seen["torchinfo"] = torchinfo.summary(make(), input_data=x, verbose=0).total_mult_adds
        seen["thop"] = thop.profile(make(), (x,), verbose=False)[0]
        seen["fvcore"] = FlopCountAnalysis(make(), x).total()
        for backend in ("pytorch", "aten"):
            seen[backend] = ptflops.get_model_complexity_info(
                make(), (10, 8), as_strings=False, print_per_layer_stat=False, backend=backend
            )[0]
    return {name: int(count) for name, count in seen.items()}


seen = counted(torch.nn.LSTM), counted(torch.nn.GRU)
print("LSTM", seen[0], "GRU", seen[1], sep="\n")
assert seen[0] == {"torch": 0, "torchinfo": 16640, "thop": 17920, "fvcore": 0, "pytorch": 18240, "aten": 0}, seen[0]
assert seen[1] == {"torch": 11520, "torchinfo": 12480, "thop": 13600, "fvcore": 0, "pytorch": 13600, "aten": 12480}, seen[1]
PY
