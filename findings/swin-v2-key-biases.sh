#!/bin/sh
# Packages   torch 2.13.0, torchvision 0.28.0, timm 1.0.31 (no weights are downloaded)
# Do         count the parameters of SwinV2-T, of which both have the windows of 8; take a step of SGD with weight decay
# Seen       torchvision 28,351,570, timm 28,347,154. torchvision has biases of keys, 4,416 in all, sets them to zero in a copy at
#            each forward pass, and counts them: their gradient is zero, an output does not change with them. timm has biases
#            of queries and values alone, and a buffer of zeros that is no parameter and not in its state_dict
# One would  guess that one network of one paper has one number of parameters, and that a parameter has an effect
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 torchvision==0.28.0 timm==1.0.31 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
from importlib.util import find_spec
from pathlib import Path

import torch

try:
    torch.ops.load_library(str(Path(find_spec("torchvision").origin).parent / "_C.so"))
except OSError:  # built for another torch: its operators, of which nothing here is used, need a declaration
    operators = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor d, Tensor s, float t) -> Tensor")
import timm
import torchvision

torch.manual_seed(0)
published = torchvision.models.swin_v2_t().eval()
other = timm.create_model("swinv2_tiny_window8_256")


def size(model) -> int:
    return sum(p.numel() for p in model.parameters())


picture = torch.randn(1, 3, 64, 64)
before = published(picture)
biases = [p for name, p in published.named_parameters() if name.endswith("attn.qkv.bias")]
before.square().sum().backward()
slopes = 0.0
for bias in biases:
    key = slice(len(bias) // 3, 2 * len(bias) // 3)
    slopes += bias.grad[key].abs().sum().item()
    with torch.no_grad():
        bias[key] += 5.0
keys = sum(len(bias) // 3 for bias in biases)
seen = (size(published), size(other), keys, slopes, torch.equal(before, published(picture)))
print(seen)
assert seen == (28_351_570, 28_347_154, 4_416, 0.0, True), seen
buffers = {name.rsplit(".", 1)[-1] for name, _ in other.named_buffers()}
assert "k_bias" in buffers and not any(name.endswith("k_bias") for name in other.state_dict()), buffers
PY
