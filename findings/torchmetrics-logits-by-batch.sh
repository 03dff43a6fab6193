#!/bin/sh
# Packages   torchmetrics 1.9.0, torch 2.13.0: BinaryAccuracy, BinaryAUROC, BinaryCalibrationError on logits
# Do         each batch is looked at on its own: where all of its values lie in [0, 1] they are taken for probabilities,
#            else for logits, and go through a sigmoid
# Seen       four logits 0.3, 0.2, 3.0, -2.0 with targets 1, 1, 1, 0. In one batch: accuracy 1.0, AUROC 1.0, calibration error
#            0.2606. In two batches of two: accuracy 0.5, AUROC 1.0, calibration error 0.4167
# One would  guess that a metric of examples does not depend on how they are cut into batches
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0
"$folder/venv/bin/python" - <<'PY'
import torch
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC, BinaryCalibrationError

logits, targets = torch.tensor([0.3, 0.2, 3.0, -2.0]), torch.tensor([1, 1, 1, 0])


def of(make, size: int) -> float:
    metric = make()
    for x, y in zip(logits.split(size), targets.split(size), strict=True):
        metric.update(x, y)
    return round(float(metric.compute()), 4)


seen = {make.__name__: (of(make, 4), of(make, 2)) for make in (BinaryAccuracy, BinaryAUROC, BinaryCalibrationError)}
print(seen)
assert seen["BinaryAccuracy"] == (1.0, 0.5), seen
assert seen["BinaryAUROC"] == (1.0, 1.0), seen
assert seen["BinaryCalibrationError"] == (0.2606, 0.4167), seen
PY
