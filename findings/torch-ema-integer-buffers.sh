#!/bin/sh
# Package    torch 2.13.0, torch.optim.swa_utils.AveragedModel(use_buffers=True) with get_ema_multi_avg_fn
# Does       averages the buffers too, integer ones among them, and cuts the average down to a whole number
# Seen       a batch norm whose num_batches_tracked is 7 at both updates: the averaged model says 6; with 100 it says 99
# One would  guess that the average of 7 and 7 is 7
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(batches: int, decay: float) -> int:
    model = torch.nn.BatchNorm1d(1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    model.num_batches_tracked.fill_(batches)
    average.update_parameters(model)  # the first update copies
    average.update_parameters(model)
    return average.module.num_batches_tracked.item()


seen = [averaged(7, 0.9), averaged(100, 0.9), averaged(7, 0.5)]
print("7 and 7, 100 and 100 at decay 0.9, 7 and 7 at decay 0.5:", seen)
assert seen == [6, 99, 6], seen
PY
