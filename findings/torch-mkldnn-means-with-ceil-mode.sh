#!/bin/sh
# Packages   torch 2.13.0 on a CPU with oneDNN
# Do         take means of windows of 2 over 5x5 ones with `ceil_mode=True` and no padding, once plain and once in oneDNN's
#            layout (`to_mkldnn`)
# Seen       the last windows hang over the edge. Of a plain tensor their means are 1; in oneDNN's layout 0.5 and 0.25, as
#            cells outside the input are counted, though there is no padding. With `count_include_pad=False` both give 1
# One would  guess that the mean of ones is one in either layout
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import torch.nn.functional as F

x = torch.ones(1, 1, 5, 5)
for counted in (True, False):
    plain, blocks = (
        F.avg_pool2d(one, 2, 2, ceil_mode=True, count_include_pad=counted) for one in (x, x.to_mkldnn())
    )
    print(f"count_include_pad={counted}: plain {plain[0, 0].tolist()}, in oneDNN's layout {blocks.to_dense()[0, 0].tolist()}")
    assert plain.eq(1).all()
    expected = [[1, 1, 0.5], [1, 1, 0.5], [0.5, 0.5, 0.25]] if counted else [[1] * 3] * 3
    assert blocks.to_dense()[0, 0].tolist() == expected
PY
