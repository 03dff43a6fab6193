#!/bin/sh
# Package    torch 2.13.0, nn.Upsample(scale_factor=N, mode="nearest") for whole N
# Does       works out the source of each position in single precision, so that for some factors a value is repeated once
#            more or less than its neighbour; mode="nearest-exact" repeats each N times for all N from 1 to 64
# Seen       the factors from 1 to 64 that do not repeat each of 8 values N times: 41, 47, 55 and 61 for "nearest", none for
#            "nearest-exact"
# One would  guess that a whole factor makes N copies of each value, as repeat_interleave does
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch


def uneven(mode: str) -> list[int]:
    x = torch.arange(8.0).view(1, 1, 8)
    factors = range(1, 65)
    return [n for n in factors if not torch.equal(torch.nn.Upsample(scale_factor=n, mode=mode)(x), x.repeat_interleave(n, -1))]


seen = {mode: uneven(mode) for mode in ("nearest", "nearest-exact")}
print(seen)
assert seen == {"nearest": [41, 47, 55, 61], "nearest-exact": []}, seen
PY
