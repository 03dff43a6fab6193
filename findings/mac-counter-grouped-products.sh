#!/bin/sh
# Packages   torch 2.13.0
# Do         multiply the tokens of two experts by their matrices, once with functional.grouped_mm (offsets say where the tokens of
#            an expert end), once with torch.bmm, forward and backward, under torch's own FlopCounterMode
# Seen       bmm of 2 x 4 tokens of 16 values with matrices to 32: 8,192 FLOPs forward, 24,576 with the backward pass.
#            grouped_mm of the same, equal in its values: 0 and 0, without a warning. And `grouped_mm(...).sum().backward()`
#            raises: the gradient of a sum has strides of 0, which bmm takes
# One would  guess that the counter knows the products of torch itself, or says which operation it cannot count, and that the
#            gradient of a product does not depend on how its own gradient lies in memory
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W error - <<'PY'
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

torch.manual_seed(0)
tokens, matrices = torch.randn(8, 16), torch.randn(2, 16, 32)
ends = torch.tensor([4, 8], dtype=torch.int32)
ways = {
    "bmm": lambda x, w: torch.bmm(x.view(2, 4, 16), w).view(8, 32),
    "grouped_mm": lambda x, w: functional.grouped_mm(x, w, offs=ends),
}
outputs, seen = {}, {}
for name, way in ways.items():
    x, w = tokens.to(torch.bfloat16).requires_grad_(), matrices.to(torch.bfloat16).requires_grad_()
    with FlopCounterMode(display=False) as forward:
        outputs[name] = way(x, w)
    with FlopCounterMode(display=False) as both:
        way(x, w).square().sum().backward()
    seen[name] = (forward.get_total_flops(), both.get_total_flops())
    print(name, seen[name])
x, w = tokens.to(torch.bfloat16).requires_grad_(), matrices.to(torch.bfloat16).requires_grad_()
try:
    ways["grouped_mm"](x, w).sum().backward()
    of_a_sum = "works"
except RuntimeError as error:
    of_a_sum = str(error)
print("the gradient of a sum:", of_a_sum)
assert torch.allclose(outputs["bmm"].float(), outputs["grouped_mm"].float(), atol=0.05)
assert seen == {"bmm": (8192, 24576), "grouped_mm": (0, 0)}, seen
assert of_a_sum == "Invalid strides/sizes, got [0, 0] for strides and [8, 32] for sizes", of_a_sum
PY
