"""The starters of `dlx new --starter NAME`: what each is for, and its text."""

from __future__ import annotations

from typing import NamedTuple


class Starter(NamedTuple):
    about: str
    text: str
    """The spec, with `{name}` for its name."""


MNIST1D = """\
dlx: 1
name: {name}
data: {{mnist1d: {{train: 4000, valid: 500, test: 1000}}}}    # signals of 40 values, made anew; 10 classes
network:
  layers:
    - conv: {{out_channels: 25, kernel_size: 5, stride: 2, padding: 1}}
    - relu
    - conv: {{out_channels: 25, kernel_size: 3, stride: 2, padding: 1}}
    - relu
    - conv: {{out_channels: 25, kernel_size: 3, stride: 2, padding: 1}}
    - relu
    - flatten
    - linear: 10
objective: classification
train:
  epochs: 40
  batch_size: 100
  optimizer: {{adam: {{lr: 1e-2}}}}
"""

SEQUENCE = """\
dlx: 1
name: {name}
data: {{mnist1d: {{train: 4000, valid: 500, test: 1000}}}}    # a signal is read as a sequence of 40 values
network:
  layers:
    - transpose                       # (1, 40) to (40, 1): 40 steps of one value
    - gru: {{hidden_size: 32, bidirectional: true}}
    - flatten
    - linear: 10
objective: classification
train:
  epochs: 20
  batch_size: 100
  optimizer: {{adam: {{lr: 3e-3}}}}
"""

TABLE = """\
dlx: 1
name: {name}
data:
  table:
    path: data.csv                    # CSV or parquet, beside this file
    target: label                     # the column of classes
    standardize: feature              # numbers to mean 0 and standard deviation 1
    valid: 0.15
    test: 0.15
network:
  layers:
    - linear: 32
    - relu
    - linear: 3                       # as many as there are classes
objective: classification
train:
  epochs: 50
  batch_size: 32
  optimizer: {{adamw: {{lr: 3e-3, weight_decay: 0.01}}}}
"""

REGRESSION = """\
dlx: 1
name: {name}
data:
  table:
    path: data.csv                    # CSV or parquet, beside this file
    target: value                     # the column of numbers
    standardize: feature              # numbers to mean 0 and standard deviation 1
    valid: 0.15
    test: 0.15
network:
  layers:
    - linear: 32
    - relu
    - linear: 1
objective: {{regression: {{metrics: [r2]}}}}
train:
  epochs: 100
  batch_size: 32
  optimizer: {{adamw: {{lr: 3e-3, weight_decay: 0.01}}}}
"""

IMAGES = """\
dlx: 1
name: {name}
data:
  images:
    path: pictures                    # a folder with a folder of pictures for each class, beside this file
    size: 64                          # pixels, height and width
    valid: 0.15
    test: 0.15
    standardize: channel
network:
  layers:
    - for: {{width: [16, 32, 64]}}
      layers:
        - conv: {{out_channels: "${{width}}", kernel_size: 3, padding: 1, bias: false}}
        - batch_norm
        - relu
        - max_pool: 2
    - global_avg_pool
    - linear: 2                       # as many as there are classes
objective: classification
train:
  epochs: 20
  batch_size: 32
  optimizer: {{adam: {{lr: 1e-3}}}}
  augment: [horizontal_flip]
"""

SWEEP = """\
dlx: 1
name: {name}
data: {{digits: {{valid: 0.2, test: 0.2}}}}
vars: {{width: 32}}
network:
  layers:
    - flatten
    - linear: ${{width}}
    - relu
    - linear: 10
objective: classification
train: {{epochs: 10, batch_size: 64, optimizer: {{adam: 1e-2}}}}
sweep:                                # `dlx sweep`; `dlx train` takes the values above
  space:
    train.optimizer.adam.lr: tag(log, interval(1e-4, 1e-1))
    vars.width: range(8, 65, 8)
  trials: 16
"""

STARTERS = {
    "mnist1d": Starter("classes of signals: convolutions on MNIST-1D", MNIST1D),
    "sequence": Starter("classes of sequences: a GRU on MNIST-1D", SEQUENCE),
    "table": Starter("classes of the rows of a table; `--data my.csv` fits it to yours", TABLE),
    "regression": Starter("values of the rows of a table", REGRESSION),
    "images": Starter("classes of pictures in folders", IMAGES),
    "sweep": Starter("a search for a learning rate and a width", SWEEP),
}
