#!/bin/sh
# Packages   torch 2.13.0, numpy 2.4.6
# Do         a training call of a compiled RNN, GRU and LSTM on a CPU, with and without torch._dynamo.config.allow_rnn
# Seen       without it none is compiled: 0 graphs, no warning. With it RNN and GRU run as one graph; LSTM raises
#            TypeError: expected Tensor() for op: torch.ops.aten.mkldnn_rnn_layer.default, and runs only under no_grad
# One would  guess that torch.compile warns where it compiles nothing, and that a setting which allows recurrent layers allows
#            the three alike
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
TORCHINDUCTOR_CACHE_DIR="$folder/cache" "$folder/venv/bin/python" - <<'PY'
import warnings

import torch
from torch._dynamo.utils import counters


def compiled(kind, allowed, gradients=True):
    """Graphs that were made, what a call ends in, and the number of warnings."""
    torch._dynamo.reset()
    counters.clear()
    torch._dynamo.config.allow_rnn = allowed
    module = kind(4, 8, batch_first=True)
    with warnings.catch_warnings(record=True) as given, torch.set_grad_enabled(gradients):
        warnings.simplefilter("always")
        try:
            torch.compile(module)(torch.randn(2, 5, 4))
            end = "runs"
        except TypeError as error:
            end = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    about = [one for one in given if any(word in str(one.message).lower() for word in ("rnn", "lstm", "gru", "recurrent"))]
    return counters["stats"]["unique_graphs"], end, len(about)


seen = {kind.__name__: (compiled(kind, False), compiled(kind, True)) for kind in (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM)}
print(seen)
assert seen["RNN"] == seen["GRU"] == ((0, "runs", 0), (1, "runs", 0)), seen
fails = "TypeError: expected Tensor() for op: torch.ops.aten.mkldnn_rnn_layer.default"
assert seen["LSTM"] == ((0, "runs", 0), (1, fails, 0)), seen
assert compiled(torch.nn.LSTM, True, gradients=False)[:2] == (1, "runs")
PY
