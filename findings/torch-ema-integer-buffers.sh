#!/bin/sh
# Package    torch 2.13.0, torch.optim.swa_utils.AveragedModel(use_buffers=True) with get_ema_multi_avg_fn
# Does       averages integer buffers in floating point and cuts the result down to a whole number
# Seen       a batch norm whose num_batches_tracked is the same at both updates, decay 0.9: 3, 7 and 9 become 2, 6 and 8;
#            10 and 100 stay
# One would  guess that the average of 7 and 7 is 7
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(batches: int) -> int:
    model = torch.nn.BatchNorm1d(1)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    model.num_batches_tracked.fill_(batches)
    average.update_parameters(model)  # the first update copies
    average.update_parameters(model)
    return average.module.num_batches_tracked.item()


seen = {batches: averaged(batches) for batches in (3, 7, 9, 10, 100)}
print(seen)
assert seen == {3: 2, 7: 6, 9: 8, 10: 10, 100: 100}, seen
PY
