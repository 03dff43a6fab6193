#!/bin/sh
# Packages   torch 2.13.0
# Do         read the schema of `aten::native_batch_norm`, which batch norm calls in training, and call it
# Seen       it moves the running mean and variance in place, and its schema marks neither as written, nor itself as mutable;
#            `_native_batch_norm_legit` marks both. A tool that replays or reorders recorded operations by their schemas
#            takes the call for one without effects
# One would  guess that a schema names what is written, as it does for in-place operations
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch

operations = torch.ops.aten
mean, var = torch.zeros(3), torch.ones(3)
x = torch.arange(24.0).view(8, 3)
for name in ("native_batch_norm", "_native_batch_norm_legit"):
    schema = getattr(operations, name).default._schema
    written = [one.name for one in schema.arguments if one.alias_info is not None and one.alias_info.is_write]
    before = mean.clone()
    getattr(operations, name)(x, None, None, mean, var, True, 0.1, 1e-5)
    print(f"{name}: the schema says that it writes {written}; running_mean went from {before.tolist()} to {mean.tolist()}")
    assert not torch.equal(mean, before)
    assert written == ([] if name == "native_batch_norm" else ["running_mean", "running_var"])
print("native_batch_norm is_mutable:", operations.native_batch_norm.default._schema.is_mutable)
assert not operations.native_batch_norm.default._schema.is_mutable
PY
