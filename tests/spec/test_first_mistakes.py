"""Mistakes that people make who are new to dlx, each with the whole of what is said of it."""

import pytest
from complaints import lines, report

MISTAKES = {
    "typo section": (
        """
        dlx: 1
        netwrok:
          inputs: [4]
          layers: [relu]
        """,
        """
        s.yaml:2:1  netwrok
          a spec has no `netwrok`
          Did you mean `network` or `networks`?
        """,
    ),
    "layers outside of network": (
        """
        dlx: 1
        inputs: [4]
        layers:
          - linear: 3
        """,
        """
        s.yaml:2:1  inputs
          a spec has no `inputs`
          It stands inside `network`: `network: {inputs: ...}`.
        s.yaml:3:1  layers
          a spec has no `layers`
          It stands inside `network`: `network: {layers: ...}`.
        """,
    ),
    "network is a list": (
        """
        network:
          - linear: 3
        """,
        """
        s.yaml:1:1  network
          `network` must be a mapping with `layers`, not [{linear: 3}]
          Write `network: {layers: [...]}`.
        """,
    ),
    "no inputs": (
        """
        network:
          layers:
            - linear: 3
        """,
        """
        s.yaml:1:1  network.inputs
          the network has no inputs
          Write `inputs: {image: [3, 224, 224]}` under `network`, or name the `data`.
        """,
    ),
    "wrong out": (
        """
        data: digits
        network: {layers: [flatten, linear: 5]}
        objective: classification
        train: {epochs: 3}
        """,
        """
        s.yaml:2:29  network.layers.linear_1
          the network ends in (5,), and the data has 10 classes
          Let the last layer be `linear: 10`.
        """,
    ),
    "inputs with batch": (
        """
        data: digits
        network: {inputs: [32, 1, 8, 8], layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3}
        """,
        """
        s.yaml:2:11  network.inputs
          `inputs` says (32, 1, 8, 8) for `input`, and the data gives (1, 8, 8)
          Leave `inputs` out: the data gives the shape.
        """,
    ),
    "lr beside": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, lr: 0.1}
        """,
        """
        s.yaml:4:20  train.lr
          `train` has no field `lr`
          It is a field of the optimizer: `optimizer: {adam: {lr: 0.1}}`.
        """,
    ),
    "lr in word": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, optimizer: adam, learning_rate: 0.1, batch: 3, shuffel: true}
        """,
        """
        s.yaml:4:37  train.learning_rate
          `train` has no field `learning_rate`
          It is a field of the optimizer: `optimizer: {adam: {lr: 0.1}}`.
        s.yaml:4:57  train.batch
          `train` has no field `batch`
          Did you mean `batch_size`?
        s.yaml:4:67  train.shuffel
          `train` has no field `shuffel`
          Did you mean `shuffle`?
        """,
    ),
    "opt with two": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, optimizer: {adam: {lr: 1e-3}, sgd: 0.1}}
        """,
        """
        s.yaml:4:20  train.optimizer
          `adam` and `sgd` stand together where one optimizer is wanted
          Keep one of them.
        """,
    ),
    "opt torch": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, optimizer: {name: adam, lr: 1e-3}}
        """,
        """
        s.yaml:4:20  train.optimizer
          `name` and `lr` are no optimizer
          The kind is the key: `adam: {lr: ...}`.
        """,
    ),
    "opt type": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, optimizer: {type: adam, lr: 1e-3}, schedule: {cosine: {T_max: 10}}}
        """,
        """
        s.yaml:4:20  train.optimizer
          `type` and `lr` are no optimizer
          The kind is the key: `adam: {lr: ...}`.
        """,
    ),
    "lr as text": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: "3", optimizer: {adam: {lr: 1e-3s, weight_deacy: 1e-3}}}
        """,
        """
        s.yaml:4:9  train.epochs
          `epochs` must be a whole number, not "3"
          Write it without quotes.
        s.yaml:4:41  train.optimizer.adam.lr
          `lr` must be a number, not "1e-3s"
          lr: learning rate.
        s.yaml:4:52  train.optimizer.adam.weight_deacy
          `adam` has no field `weight_deacy`
          Did you mean `weight_decay`?
        """,
    ),
    "epochs neither": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {optimizer: adam}
        """,
        """
        s.yaml:4:1  train
          training lasts `steps: N` or `epochs: N`: give one of the two
        """,
    ),
    "epochs and steps": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, steps: 4}
        """,
        """
        s.yaml:4:1  train
          training lasts `steps: N` or `epochs: N`: give one of the two
        """,
    ),
    "data unknown": (
        """
        data: mnist
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3}
        """,
        """
        s.yaml:1:1  data
          there is no data set `mnist`
          Did you mean `idx` or `digits`?
        """,
    ),
    "valid wrong": (
        """
        data: {digits: {valid: 10%, test: 1.5}}
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3}
        """,
        """
        s.yaml:1:17  data.digits.valid
          `valid` must be a number, not "10%"
          Write 0.1.
        s.yaml:1:29  data.digits.test
          `test` must be below 1, not 1.5
          test: examples held out for the test: a fraction, a count, or null.
        """,
    ),
    "valid too large": (
        """
        data: {digits: {valid: 0.6, test: 0.6}}
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3}
        """,
        """
        s.yaml:1:8  data.digits
          `valid` 0.6 + `test` 0.6 = 1.2, and there is 1 to share: lower one
        """,
    ),
    "early stopping without valid": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, early_stopping: 3}
        """,
        """
        s.yaml:4:20  train.early_stopping.metric
          `metric` must be a word, not 3
          Evaluations to wait are `early_stopping: {patience: 10}`.
        """,
    ),
    "early stopping with metric": (
        """
        data: {digits: {valid: 0.1}}
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 3, early_stopping: {patience: 3, metric: val_loss}}
        """,
        """
        s.yaml:4:50  train.early_stopping.metric
          `metric` must be valid/NAME, of the part that is evaluated on the way, not "val_loss"
          Write `valid/loss`.
        """,
    ),
    "output names": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}], outputs: {main: logit}}
        objective: classification
        train: {epochs: 3}
        """,
        """
        s.yaml:2:68  network.outputs.main
          the output `main` must be the name of a node, and "logit" is none
          Did you mean `logits`?
        """,
    ),
    "init by layers": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}]}
        objective: classification
        init: {by_name: {match: {logit: zeros}}}
        train: {epochs: 3}
        """,
        """
        s.yaml:4:26  init.by_name.match.logit
          `init` matches no node with weights to draw: "logit"
          Did you mean `logits`?
        """,
    ),
    "freeze": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}]}
        objective: classification
        freeze: logit
        train: {epochs: 3}
        """,
        """
        s.yaml:4:1  freeze
          `freeze` matches no node: "logit"
          Did you mean `logits`?
        """,
    ),
    "objective with field": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}]}
        objective: {classification: {loss: mse}}
        train: {epochs: 3}
        """,
        """
        s.yaml:3:30  objective.classification.loss
          there is no loss `mse`
          Did you mean `squared_error`?
        """,
    ),
    "augment": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}]}
        objective: classification
        train: {epochs: 3, augment: horizontal_flip}
        """,
        """
        s.yaml:4:20  train.augment
          `augment` must be a list, not "horizontal_flip"
          Several stand in a list, and one does too: `augment: [horizontal_flip]`.
        """,
    ),
    "augment map": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}]}
        objective: classification
        train: {epochs: 3, augment: {horizontal_flip: 0.5, crop: 8}}
        """,
        """
        s.yaml:4:20  train.augment
          `augment` must be a list, not {horizontal_flip: 0.5, crop: 8}
          Several stand in a list, and one does too: `augment: [horizontal_flip: ..., crop: ...]`.
        """,
    ),
    "device": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}]}
        objective: classification
        train: {epochs: 3, device: gpu, precision: fp16, seed: 1.5, seeds: 0}
        """,
        """
        s.yaml:4:20  train.device
          `device` must be auto, cpu, cuda or cuda:N; or mps, the GPU of a Mac, on which dlx is untried, not "gpu"
          A GPU of NVIDIA is `cuda`, the second one `cuda:1`; `auto` takes one where there is one.
        s.yaml:4:50  train.seed
          `seed` must be a whole number, not 1.5
          seed: of the initial weights, the order of the data, augmentation and dropout.
        s.yaml:4:61  train.seeds
          `seeds` must be above 0, not 0
          seeds: how many seeds to train, from `seed` on; more than one gives an interval.
        """,
    ),
    "expect": (
        """
        network: {inputs: [4], layers: [linear: 3]}
        expect: {parameters: 15, test/accuracy: 0.9}
        """,
        """
        s.yaml:2:10  expect.parameters
          there is no claim `parameters`
          Did you mean `params`?
        """,
    ),
    "vars": (
        """
        vars: {width: "${wdith * 2}", a-b: 3}
        network: {inputs: [4], layers: [linear: "${widht}"]}
        """,
        """
        s.yaml:1:8  vars.width
          there is no variable `wdith` here
        s.yaml:1:31  vars.a-b
          a variable cannot be called `a-b`
          Letters, digits and `_`.
        s.yaml:2:33  network.layers.linear_1
          there is no variable `widht` here
          Did you mean `width`?
        """,
    ),
    "repeat": (
        """
        network:
          inputs: [4]
          layers:
            - repeat: 3
              layers: [relu]
            - repeat: {n: 3, layers: [relu]}
            - repeat: {times: 3, layers: relu}
        """,
        """
        s.yaml:5:7  network.layers
          `layers` stands beside `repeat`
          Its fields stand inside it: `- repeat: {times: 3, layers: [...]}`.
        s.yaml:6:7  network.layers.repeat
          `repeat` wants `times`
          There are the fields index, layers, times.
        s.yaml:6:16  network.layers.repeat.n
          `repeat` has no field `n`
          There are the fields index, layers, times.
        """,
    ),
    "when": (
        """
        network:
          inputs: [4]
          layers:
            - relu:
              when: x.channels > 3
            - relu: {when: true}
            - when: true
              relu:
        """,
        """
        s.yaml:5:7  network.layers.relu_1
          `when` must be true or false, not "x.channels > 3"
          An expression stands in `${...}`: `when: ${x.channels > 3}`.
        s.yaml:6:14  network.layers.relu_1.when
          `relu` has no field `when`
          `when` stands beside `relu`, not inside it: on a line of its own below.
        """,
    ),
    "blocks list": (
        """
        blocks:
          - unit:
              layers: [relu]
        network: {inputs: [4], layers: [unit]}
        """,
        """
        s.yaml:1:1  blocks
          `blocks` must be a mapping of names to blocks, not [{unit: {layers: ["relu"]}}]
          Write `blocks: {name: {layers: [...]}}`.
        """,
    ),
    "block layers missing": (
        """
        blocks:
          unit:
            - relu
            - linear: 3
        network: {inputs: [4], layers: [unit]}
        """,
        """
        s.yaml:2:3  blocks.unit
          a block must be a mapping with `layers`, not ["relu", {linear: 3}]
          Write `unit: {layers: [...]}`.
        """,
    ),
    "sweep2": (
        """
        data: digits
        network: {layers: [flatten, {linear: 10, name: logits}]}
        objective: classification
        train: {epochs: 3, optimizer: {adam: 1e-3}}
        sweep: {train.optimizer.adam.lr: [1e-4, 1e-1]}
        """,
        """
        s.yaml:5:9  sweep.train.optimizer.adam.lr
          `sweep` has no field `train.optimizer.adam.lr`
          Keys that vary stand under `space`: `space: {train.optimizer.adam.lr: [...]}`.
        """,
    ),
    "version": (
        """
        dlx: 2
        network: {inputs: [4], layers: [relu]}
        """,
        """
        s.yaml:1:1  dlx
          `dlx: 2` is a version of the format that this dlx does not read
          It reads `dlx: 1`.
        """,
    ),
    "version text": (
        """
        dlx: "1"
        network: {inputs: [4], layers: [relu]}
        """,
        """
        s.yaml:1:1  dlx
          `dlx: "1"` is a version of the format that this dlx does not read
          It reads `dlx: 1`.
        """,
    ),
    "name": (
        """
        name: my/net work
        network: {inputs: [4], layers: [relu]}
        """,
        """
        s.yaml:1:1  name
          `name` must be a word, not "my/net work"
          Letters, digits, `.`, `_` and `-`, not starting with a dot.
        """,
    ),
    "values": (
        """
        network: {inputs: [4], layers: [{linear: 3, values: {weights: 1, bias: [1,2]}}]}
        """,
        """
        s.yaml:1:54  network.layers.linear_1.values.weights
          there is no weight `weights` to give values to
          Did you mean `weight`?
        s.yaml:1:66  network.layers.linear_1.values.bias
          `bias` has shape (3,), and the values given are (2,)
          A single number fills all of it.
        """,
    ),
    "network text": (
        """
        network: lenet
        """,
        """
        s.yaml:1:1  network
          `network` must be a mapping with `layers`, not "lenet"
          Write `network: {layers: [...]}`.
        """,
    ),
    "layers map": (
        """
        network:
          inputs: [4]
          layers:
            linear: 3
            relu:
        """,
        """
        s.yaml:3:3  network.layers
          `layers` must be a list, not {linear: 3, relu: null}
          Start each layer with `- `.
        """,
    ),
    "empty layers": (
        """
        network:
          inputs: [4]
          layers: []
        """,
        """
        s.yaml:3:3  network.layers
          the network has no layer
          Write one: `- linear: 10`.
        """,
    ),
    "inputs string": (
        """
        network:
          inputs: 3x32x32
          layers: [flatten, linear: 3]
        """,
        """
        s.yaml:2:3  network.inputs.input
          the shape of `input` must be whole numbers above 0, not "3x32x32"
          Channels first, without the batch: [3, 32, 32].
        """,
    ),
    "metrics": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: {classification: {metrics: accuracy}}
        train: {epochs: 1}
        """,
        """
        s.yaml:3:30  objective.classification.metrics
          there is no metric `accuracy`
        """,
    ),
    "dropout": (
        """
        network:
          inputs: [4]
          layers: [dropout: 50, dropout: 1.0, leaky_relu: -1]
        """,
        """
        s.yaml:3:12  network.layers.dropout_1.p
          `p` must be at most 1, not 50
          p: probability that a value is dropped; it may be scheduled.
        """,
    ),
    "seeds list": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 1, seeds: [1, 2, 3]}
        """,
        """
        s.yaml:4:20  train.seeds
          `seeds` must be a whole number, not [1, 2, 3]
          Seeds are counted up from `seed`: `train.seed=1 train.seeds=2` trains seeds 1 and 2.
        """,
    ),
    "a scheduler of torch": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 1, scheduler: {StepLR: {step_size: 3}}, grad_clip: 1.0}
        """,
        """
        s.yaml:4:20  train.scheduler
          `train` has no field `scheduler`
          Did you mean `schedule`?
        s.yaml:4:57  train.grad_clip
          `train` has no field `grad_clip`
          Did you mean `clip_norm` or `clip_value`?
        """,
    ),
    "names that other frameworks have": (
        """
        data: {table: {path: a.csv, target: y, normalize: true}}
        network: {layers: [linear: 10]}
        train: {epochs: 1, ema: 0.99, checkpoint_every: 5, time_limit: 1h, random_seed: 3}
        """,
        """
        s.yaml:1:40  data.table.normalize
          `table` has no field `normalize`
          Did you mean `standardize`?
        s.yaml:3:20  train.ema
          `train` has no field `ema`
          It is an average of the weights: `average: {ema: {decay: 0.999}}`.
        s.yaml:3:31  train.checkpoint_every
          `train` has no field `checkpoint_every`
          Did you mean `save_every`?
        s.yaml:3:52  train.time_limit
          `train` has no field `time_limit`
          Did you mean `max_time`?
        s.yaml:3:68  train.random_seed
          `train` has no field `random_seed`
          Did you mean `seed`?
        """,
    ),
    "epochs at the top": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        epochs: 3
        optimizer: adam
        """,
        """
        s.yaml:4:1  epochs
          a spec has no `epochs`
          It stands inside `train`: `train: {epochs: ...}`.
        s.yaml:5:1  optimizer
          a spec has no `optimizer`
          It stands inside `train`: `train: {optimizer: ...}`.
        """,
    ),
    "the fields of a kind without it": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 1, optimizer: {lr: 0.1, nesterov: true}}
        """,
        """
        s.yaml:4:20  train.optimizer
          `lr` and `nesterov` are no optimizer
          Fields stand inside a kind, `KIND: {lr: ...}`, here of momentum, muon, sgd.
        """,
    ),
    "a number with a unit": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 1, batch_size: "64", optimizer: {adam: {lr: "1e-3"}}}
        """,
        """
        s.yaml:4:20  train.batch_size
          `batch_size` must be a whole number or "all", not "64"
          Write it without quotes.
        s.yaml:4:57  train.optimizer.adam.lr
          `lr` must be a number, not "1e-3"
          Write it without quotes.
        """,
    ),
    "variables that give what does not fit": (
        """
        vars: {width: wide, half: "${width // 2}"}
        network:
          inputs: [4]
          layers:
            - linear: ${width}
            - linear: ${half}
        """,
        """
        s.yaml:1:21  vars.half
          `width // 2` does not divide two numbers
          from `width` at s.yaml:1:8
        s.yaml:5:7  network.layers.linear_1.out_features
          `out_features` must be a whole number, not "wide"
          out_features: sums, and so values on the last axis of the output.
          from `width` at s.yaml:1:8
        """,
    ),
    "a list of a loop that gives what does not fit": (
        """
        network:
          inputs: [3, 32, 32]
          layers:
            - for: {width: [8, -3]}
              layers:
                - conv: {out_channels: "${width}", kernel_size: 1}
        """,
        """
        s.yaml:6:18  network.layers.conv_2.out_channels
          `out_channels` must be above 0, not -3
          out_channels: filters, and so channels of the output.
          from `width` at s.yaml:4:13
        """,
    ),
    "a block that hands in a variable": (
        """
        vars: {w: 0}
        blocks:
          unit:
            args: {out: null}
            layers: [{linear: "${out}"}]
        network:
          inputs: [4]
          layers:
            - unit: {out: "${w}"}
        """,
        """
        s.yaml:5:15  network.layers.unit_1/linear_1.out_features
          `out_features` must be above 0, not 0
          out_features: sums, and so values on the last axis of the output.
          called at s.yaml:9:7
          from `w` at s.yaml:1:8
        """,
    ),
    "ways to write an expression that is none": (
        """
        vars: {a: 3}
        network:
          inputs: [8]
          layers:
            - linear: ${{a}}
            - linear: $a
            - linear: "{a}"
            - linear: ${a} + 1
            - linear: ${vars.a}
            - linear: ${int(a / 2)}
        """,
        """
        s.yaml:5:7  network.layers.linear_1
          `${{a}}` has a `${` that is not closed
          One brace is enough: ${a}.
        s.yaml:6:7  network.layers.linear_2.out_features
          `out_features` must be a whole number, not "$a"
          An expression is `${a}`.
        s.yaml:7:7  network.layers.linear_3.out_features
          `out_features` must be a whole number, not "{a}"
          An expression is `${a}`.
        s.yaml:8:7  network.layers.linear_4.out_features
          `out_features` must be a whole number, not "3 + 1"
          Arithmetic stands inside `${...}` as a whole: `${a + 1}`.
          from `a` at s.yaml:1:8
        s.yaml:9:7  network.layers.linear_5
          there is no variable `vars` here
          Variables stand alone: ${width}.
        s.yaml:10:7  network.layers.linear_6
          there is no function `int`
          Did you mean `floor`, or `//` in place of `/`?
        """,
    ),
    "loops of Python": (
        """
        network:
          inputs: [8]
          layers:
            - for i in range(3): [relu]
            - for: [1, 2]
              layers: [relu]
        """,
        """
        s.yaml:4:7  network.layers.for i in range(3)_1
          there is no layer or block `for i in range(3)`
          A loop is `- for: {width: [64, 128]}` with `layers: [...]` on a line of its own below.
        s.yaml:5:7  network.layers.for
          `for` wants lists to walk, and `layers` beside it
          Write `for: {width: [64, 128]}` and `layers: [...]` below it.
        """,
    ),
    "networks as a list": (
        """
        data: digits
        networks:
          - generator: {layers: [linear: 3]}
        objective: gan
        train: {steps: 1}
        """,
        """
        s.yaml:2:1  networks
          `networks` must be a mapping of names to networks, not [{generator: {layers: [{linear: 3}]}}]
          Write `networks: {generator: {layers: [...]}, discriminator: {layers: [...]}}`.
        """,
    ),
    "stages as a mapping": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        stages: {a: {train: {epochs: 1}}}
        """,
        """
        s.yaml:4:1  stages
          `stages` must be a list of 1 to 100 stages, not {a: {train: {epochs: 1}}}
          Write `stages: [{name: pretrain, train: {epochs: 5}}, ...]`.
        """,
    ),
    "structures without their fields": (
        """
        network:
          inputs: [8, 16, 16]
          layers:
            - residual:
                - conv: {out_channels: 8, kernel_size: 3}
            - parallel: [[relu], [tanh]]
        """,
        """
        s.yaml:4:7  network.layers.residual
          `residual` must be a mapping, not [{conv: {out_channels: 8, kernel_size: 3}}]
          Write `residual: {layers: [...]}`.
        s.yaml:6:7  network.layers.parallel
          `parallel` must be a mapping, not [["relu"], ["tanh"]]
          Write `parallel: {branches: [...]}`.
        """,
    ),
    "a space of a sweep that is not closed": (
        """
        data: digits
        network: {layers: [flatten, linear: 10]}
        objective: classification
        train: {epochs: 1}
        sweep: {space: {train.batch_size: "range(1, 9"}, sampler: bayes}
        """,
        """
        s.yaml:5:17
          is not in Hydra's override grammar: the `(` in its value is not closed
          Write `)` where it ends; the shell wants quotes about it all.
        s.yaml:5:50  sweep.sampler
          there is no sampler `bayes`
          Did you mean `tpe` or `gp`?
        """,
    ),
    "tokens and facts of a text": (
        """
        data: {digits: {classes: 3}}
        network: {layers: [flatten, {linear: "${data.clases}"}]}
        """,
        """
        s.yaml:1:17  data.digits.classes
          `classes` must be a list, not 3
          classes: digits that are taken, in their order as classes.
        s.yaml:2:30  network.layers.linear_1
          there is no `data.clases`
          `data` has `classes`, `vocabulary`, and `fields.NAME`.
        """,
    ),
    "two data sets": (
        """
        data: {digits: {}, mnist1d: {}}
        network: {layers: [flatten, linear: 10]}
        """,
        """
        s.yaml:1:1  data
          `digits` and `mnist1d` stand together where one data set is wanted
          Keep one of them.
        """,
    ),
}


@pytest.mark.parametrize(("spec", "told"), MISTAKES.values(), ids=MISTAKES)
def test_a_first_mistake_is_told_where_it_is_with_the_way_out(tmp_path, spec, told):
    assert report(tmp_path, lines(spec) + "\n") == lines(told)
