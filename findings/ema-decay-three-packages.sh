#!/bin/sh
# Packages   torch 2.13.0 (swa_utils), torch-ema 0.3, ema-pytorch 0.8.3, each asked for a moving average of decay 0.9
# Do         torch starts from the weights after the first step, not from those at its creation; torch-ema takes
#            min(0.9, (1 + n) / (10 + n)) at update n unless use_num_updates=False; ema-pytorch looks at the model at every
#            tenth update only, and copies it until 100 updates have passed
# Seen       a weight that is 0 at creation and 1, 2, ... 6 after each step:
#            torch 2.3144, torch-ema 5.3001, ema-pytorch 1.0; by the formula from 0 on: 1.7830
# One would  guess that a decay of 0.9 is one number for all, and that it is the formula's
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torch-ema==0.3 ema-pytorch==0.8.3
"$folder/venv/bin/python" - <<'PY'
import torch
from ema_pytorch import EMA
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_ema import ExponentialMovingAverage


def after_six(make, update, read) -> float:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = make(model)
    for step in range(1, 7):
        with torch.no_grad():
            model.weight.fill_(float(step))
        update(average, model)
    return round(read(average), 4)


formula = 0.0
for step in range(1, 7):
    formula = 0.9 * formula + 0.1 * step
seen = {
    "formula": round(formula, 4),
    "torch": after_six(
        lambda m: AveragedModel(m, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
        lambda a, m: a.update_parameters(m),
        lambda a: a.module.weight.item(),
    ),
    "torch-ema": after_six(
        lambda m: ExponentialMovingAverage(m.parameters(), decay=0.9),
        lambda a, m: a.update(),
        lambda a: a.shadow_params[0].item(),
    ),
    "torch-ema, use_num_updates=False": after_six(
        lambda m: ExponentialMovingAverage(m.parameters(), decay=0.9, use_num_updates=False),
        lambda a, m: a.update(),
        lambda a: a.shadow_params[0].item(),
    ),
    "ema-pytorch": after_six(lambda m: EMA(m, beta=0.9), lambda a, m: a.update(), lambda a: a.ema_model.weight.item()),
}
print(seen)
assert seen == {
    "formula": 1.783,
    "torch": 2.3144,
    "torch-ema": 5.3001,
    "torch-ema, use_num_updates=False": 1.783,
    "ema-pytorch": 1.0,
}, seen
PY
