#!/bin/sh
# Packages   torch 2.13.0 with onnx 1.22.0: torch.onnx.export(..., dynamo=False) of a traced torch.fx.GraphModule
# Does       takes the module's attribute `graph` for a graph of TorchScript as soon as `dynamic_axes` is given
# Seen       nn.Module: exported with and without dynamic_axes. Its GraphModule: exported without, and with dynamic_axes
#            AttributeError: 'Graph' object has no attribute 'outputs'
# One would  guess that naming an axis cannot decide whether a module can be exported
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 onnx==1.22.0
"$folder/venv/bin/python" -W ignore - <<'PY'
import io

import torch


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 3)

    def forward(self, x):
        return self.linear(x)


def exported(module, **options) -> str:
    try:
        torch.onnx.export(module, (torch.zeros(1, 2),), io.BytesIO(), dynamo=False, input_names=["x"], **options)
    except AttributeError as error:
        return str(error)
    return "exported"


named = {"dynamic_axes": {"x": {0: "n"}}}
seen = [exported(make(), **how) for make in (Small, lambda: torch.fx.symbolic_trace(Small())) for how in ({}, named)]
print(seen)
assert seen == ["exported", "exported", "exported", "'Graph' object has no attribute 'outputs'"], seen
PY
