"""The spec that `dlx new` writes."""

from __future__ import annotations

from pathlib import Path

from ..errors import DlxError, Mark, Problem

YAML = """\
dlx: 1
name: {name}
data: digits                      # 1,797 real 8x8 digits, 10 classes
network:
  layers:                         # from top to bottom; `dlx layers` lists the kinds
    - conv: {{out_channels: 16, kernel_size: 3, padding: 1}}
    - relu
    - max_pool: 2
    - flatten
    - linear: 10
objective: classification
train:
  epochs: 20
  batch_size: 32
  optimizer: {{adam: {{lr: 1e-3}}}}
"""

TOML = """\
dlx = 1
name = "{name}"
data = "digits"                   # 1,797 real 8x8 digits, 10 classes
objective = "classification"

[network]
layers = [                        # from top to bottom; `dlx layers` lists the kinds
    {{ conv = {{ out_channels = 16, kernel_size = 3, padding = 1 }} }},
    "relu",
    {{ max_pool = 2 }},
    "flatten",
    {{ linear = 10 }},
]

[train]
epochs = 20
batch_size = 32
optimizer = {{ adam = {{ lr = 1e-3 }} }}
"""


def write(path: Path) -> None:
    """Write the starter to `path`. DlxError where the file exists or its suffix is neither .yaml nor .toml."""
    texts = {".yaml": YAML, ".yml": YAML, ".toml": TOML}
    if path.suffix not in texts:
        raise DlxError(Problem("a spec ends in .yaml or .toml", "", Mark(str(path))))
    if path.exists():
        raise DlxError(Problem("is there already, and stays as it is", "Name another file.", Mark(str(path))))
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in path.stem).lstrip(".") or "first"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path.suffix].format(name=name))
    except OSError as error:
        raise DlxError(Problem(f"cannot be written: {error.strerror}", "", Mark(str(path)))) from error
