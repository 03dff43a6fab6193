#!/bin/sh
# Packages   torch 2.13.0 on a CPU with oneDNN
# Do         pool a tensor in oneDNN's layout (`to_mkldnn`) with a window of 2 and no stride, by maxima and by means, and ask for
#            the gradient; then the same with the stride written out
# Seen       the forward pass takes the window as the stride, as everywhere in torch; the backward pass of the same call ends in
#            "expected stride to be a single integer value or a list of 2 values ..., but got stride=[]". With the stride written
#            out, 2 again, values and gradients equal those of plain tensors
# One would  guess that a call which runs forward runs backward, and that a default is the value that stands for it
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
import torch.nn.functional as F

torch.manual_seed(0)
for pool in (F.max_pool2d, F.avg_pool2d):
    x, plain = (torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in range(2))
    pool(plain, 2).square().sum().backward()
    pooled = pool(x.to_mkldnn(), 2).to_dense()
    assert torch.equal(pooled, pool(plain, 2)), pool
    try:
        pooled.square().sum().backward()
    except RuntimeError as error:
        print(pool.__name__, "without a stride:", error)
        assert "stride=[]" in str(error)
    else:
        raise SystemExit("the gradient without a stride works now")
    x.grad = None
    pool(x.to_mkldnn(), 2, 2).to_dense().square().sum().backward()
    torch.testing.assert_close(x.grad, plain.grad)
    print(pool.__name__, "with a stride of 2: the gradient of a plain tensor")
PY
