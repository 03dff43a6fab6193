#!/bin/sh
# Packages   pyhessian 0.1, torch 2.13.0, numpy 2.2.6
# Do         ask PyHessian for the largest eigenvalue, the trace and the density of the eigenvalues of the Hessian of a linear
#            layer with squared error, all on the CPU
# Seen       eigenvalue and trace agree with the closed form, 2 X'X / (n k); the density ends in a RuntimeError of torch: it calls
#            `torch.eig`, which torch has removed. The package declares no bound on torch, so that pip installs both without a word
# One would  guess that three methods of one object work with the same torch
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyhessian==0.1 torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from pyhessian import hessian

torch.manual_seed(0)
x, y = torch.randn(64, 3), torch.randn(64, 1)
net = torch.nn.Linear(3, 1, bias=False)
of = hessian(net, torch.nn.MSELoss(), data=(x, y), cuda=False)
exact = torch.linalg.eigvalsh(2 * x.T @ x / len(x))
(largest,), _ = of.eigenvalues(maxIter=500, tol=1e-6)
print("largest eigenvalue", largest, "exact", exact[-1].item())
assert abs(largest - exact[-1].item()) < 1e-2 * largest
draws = of.trace(maxIter=500, tol=1e-6)
trace = sum(draws) / len(draws)
print("trace", trace, "exact", exact.sum().item())
assert abs(trace - exact.sum().item()) < 0.1 * trace
try:
    of.density()
except RuntimeError as error:
    print("density:", str(error).splitlines()[0])
else:
    raise SystemExit("density works now")
PY
