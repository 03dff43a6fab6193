#!/bin/sh
# Packages   torchmetrics 1.9.0 and netcal 1.4.0, expected calibration error with ten bins of equal width, on the same
#            confidences in double and in single precision
# Do         Bins end at 0.1, 0.2, ... in the precision of the input for torchmetrics, in double precision for netcal; a
#            confidence that was computed as 0.3 lies in the third bin in one precision and in the fourth in the other
# Seen       ten predictions of 0.3, six right, and ten of 0.35, none right: 0.325 in double, 0.025 in single precision, by both
# One would  guess that a rounding of 1e-8 changes the error by about as much
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0 netcal==1.4.0
# netcal brings torchvision, which torchmetrics would import
"$folder/venv/bin/pip" uninstall --quiet --yes torchvision
"$folder/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from netcal.metrics import ECE
from torchmetrics.functional.classification import binary_calibration_error

confidence = np.repeat([0.3, 0.35], 10)
right = np.array([1] * 6 + [0] * 14)
by_hand = {"one bin": abs(0.325 - 0.3), "two bins": 0.5 * abs(0.3 - 0.6) + 0.5 * 0.35}
seen = {
    f"{name}, {precision}": round(float(error(confidence.astype(precision))), 4)
    for precision in ("float64", "float32")
    for name, error in {
        "torchmetrics": lambda p: binary_calibration_error(torch.tensor(p), torch.tensor(right), n_bins=10),
        "netcal": lambda p: ECE(10).measure(p, right),
    }.items()
}
print(seen, "by hand", by_hand)
assert seen == {
    "torchmetrics, float64": 0.325,
    "netcal, float64": 0.325,
    "torchmetrics, float32": 0.025,
    "netcal, float32": 0.025,
}, seen
PY
