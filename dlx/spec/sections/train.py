"""The section `train`: length, batches, optimizer, schedule, regularization and evaluation of a training."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from math import ceil
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, PrivateAttr, model_validator

from ...augment import AUGMENTATIONS, VIEWS, Augmentation, View
from ...averages import AVERAGES, Average
from ...optim import OPTIMIZERS, Optimizer
from ...registry import A_LIST, Choice, Strict
from ...schedules import SCHEDULES, Schedule, Timeline
from .batch_schedule import BatchSchedule
from .ensemble import Ensemble
from .samples import Samples
from .sampling import Sampling
from .stopping import EarlyStopping, KeepBest, MaxTime, seconds

MOST_SEEDS = 10_000
"""Seeds that one spec may train; each has a run folder."""
OF_OPTIMIZER = {
    "lr": ("lr", "1e-3"),
    "learning_rate": ("lr", "1e-3"),
    "momentum": ("momentum", "0.9"),
    "weight_decay": ("weight_decay", "0.01"),
    "betas": ("betas", "[0.9, 0.999]"),
}
"""Fields of an optimizer that are looked for in `train`, each as the optimizer calls it, with an example."""
MOST_THREADS = 4096
"""Threads that a lock of a run may have too; far beyond them torch ends without a word."""


class ParameterGroup(Strict):
    """Weights with a learning rate or a weight decay of their own."""

    match: str | list[str] = Field(description="nodes or weights, with *: stage_1, stage_1/*, '*/bias'")
    lr: NonNegativeFloat | None = Field(None, description="their own learning rate; or give `lr_scale`")
    lr_scale: NonNegativeFloat | None = Field(None, description="part of the optimizer's rate; or give `lr`")
    weight_decay: NonNegativeFloat | None = Field(None, description="in place of the optimizer's")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.lr is not None and self.lr_scale is not None:
            raise ValueError("`lr` and `lr_scale` both say the rate: give one of the two")
        if self.lr is None and self.lr_scale is None and self.weight_decay is None:
            raise ValueError("a group wants something of its own: `lr`, `lr_scale` or `weight_decay`")
        return self

    @property
    def patterns(self) -> list[str]:
        return self.match if isinstance(self.match, list) else [self.match]

    def takes(self, weight: str) -> bool:
        """Whether a pattern matches a weight, `stage_1/conv_1/bias`, or a node that contains it."""
        return any(matches(weight, pattern) for pattern in self.patterns)


def matches(weight: str, pattern: str) -> bool:
    """Whether a pattern matches the name of a weight or of a node that contains it."""
    return fnmatchcase(weight, pattern) or fnmatchcase(weight, f"{pattern}/*")


def _follows(value: Any, metric: str) -> Any:
    """Return a value whose `metric` is this one where the spec names none; one without such a field as it is."""
    fields = type(value).model_fields if value is not None else {}
    if "metric" not in fields or "metric" in value.model_fields_set:
        return value
    return value.model_copy(update={"metric": metric})


class Train(Strict):
    """Settings of a training: its length, batches, optimizer, schedule and what is done around them."""

    field_hints: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(
            ("loss", "metrics", "l1", "l2", "label_smoothing", "class_weights"),
            "It belongs to the objective: `objective: {classification: {loss: cross_entropy, metrics: [f1]}}`.",
        ),
        **dict.fromkeys(
            ("valid", "validation", "validation_split", "test", "split"),
            "Parts are those of the data: `data: {digits: {valid: 0.1, test: 0.2}}`.",
        ),
        **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule"), "Did you mean `schedule`?"),
        **dict.fromkeys(("patience", "min_delta"), "It is a field of `early_stopping: {patience: 10}`."),
        **dict.fromkeys(
            ("clip", "grad_clip", "gradient_clipping", "gradient_clip_val", "clip_grad_norm"),
            "Did you mean `clip_norm` or `clip_value`?",
        ),
        **dict.fromkeys(("amp", "mixed_precision", "dtype", "fp16", "bf16"), "Did you mean `precision`?"),
        **dict.fromkeys(("checkpoint", "checkpoint_every", "checkpoint_interval"), "Did you mean `save_every`?"),
        **dict.fromkeys(("eval_steps", "eval_interval", "val_check_interval"), "Did you mean `evaluate_every`?"),
        **dict.fromkeys(("limit", "time_limit", "max_seconds"), "Did you mean `max_time`?"),
        "ema": "It is an average of the weights: `average: {ema: {decay: 0.999}}`.",
        **dict.fromkeys(("gradient_accumulation", "gradient_accumulation_steps"), "Did you mean `accumulate`?"),
        "random_seed": "Did you mean `seed`?",
        "dropout": "It is a layer: `- dropout: 0.5`.",
        "gpus": "Did you mean `device`?",
    }

    @classmethod
    def field_hint(cls, name: str) -> str:
        return cls.hint_beside(name, {})

    @classmethod
    def hint_beside(cls, name: str, fields: Mapping[str, Any], by_override: bool = False) -> str:
        if name not in OF_OPTIMIZER:
            return cls.field_hints.get(name, "")
        field, example = OF_OPTIMIZER[name]
        written = fields.get("optimizer")
        kind = next(iter(written), "") if isinstance(written, dict) else written
        if not isinstance(kind, str) or kind not in OPTIMIZERS or field not in OPTIMIZERS[kind].model_fields:
            kind = "sgd" if field == "momentum" else "adam"
        value = fields.get(name)
        value = example if value is None or isinstance(value, str | dict | list) else value
        way_out = (
            f"train.optimizer.{kind}.{field}={value}"
            if by_override
            else f"optimizer: {{{kind}: {{{field}: {value}}}}}"
        )
        return f"It is a field of the optimizer: `{way_out}`."

    words_elsewhere: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "device": {"gpu": "A GPU of NVIDIA is `cuda`, the second one `cuda:1`; `auto` takes one where there is one."},
        "seeds": {A_LIST: "Seeds are counted up from `seed`: `train.seed=1 train.seeds=2` trains seeds 1 and 2."},
    }

    steps: PositiveInt | None = Field(None, description="updates; or give `epochs`")
    epochs: PositiveInt | None = Field(None, description="passes over the training set; or give `steps`")
    batch_size: PositiveInt | Literal["all"] = Field(
        32, description="examples in a batch; all is the whole training set"
    )
    batch_schedule: BatchSchedule | None = Field(None, description="how the batch grows from epoch to epoch")
    accumulate: PositiveInt = Field(
        1, description="batches in an update, which is that of one batch as large as all of them"
    )
    optimizer: Annotated[Optimizer, Choice(OPTIMIZERS)] = Field(
        default_factory=OPTIMIZERS.new("adam"), description="how weights move"
    )
    schedule: Annotated[Schedule, Choice(SCHEDULES)] = Field(
        default_factory=SCHEDULES.new("constant"), description="how the learning rate moves"
    )
    groups: list[ParameterGroup] = Field(
        [], max_length=100, description="weights with a rate or decay of their own; the first that matches counts"
    )
    decay: Literal["all", "weights"] = Field(
        "all",
        description="what the optimizer's weight_decay is for; weights leaves out biases and norms; "
        "the slopes of prelu are left out by both",
    )
    clip_value: PositiveFloat | None = Field(None, description="the largest value a gradient may have; cut off there")
    clip_norm: PositiveFloat | None = Field(
        None, description="the largest norm of all gradients together; scaled down to it, after `clip_value`"
    )
    seed: NonNegativeInt = Field(
        0, description="of the initial weights, the order of the data, augmentation and dropout"
    )
    seeds: PositiveInt = Field(
        1, le=MOST_SEEDS, description="how many seeds to train, from `seed` on; more than one gives an interval"
    )
    ensemble: Ensemble | None = Field(None, description="several networks that answer together, by number or in full")
    bootstrap: bool = Field(
        False, description="train on as many examples as there are, drawn with replacement from the seed"
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = Field(
        "auto", description="auto, cpu, cuda or cuda:N; or mps, the GPU of a Mac, on which dlx is untried"
    )
    threads: Annotated[PositiveInt, Field(le=MOST_THREADS)] | Literal["auto"] = Field(
        "auto", description="CPU threads; auto takes one for small networks, and of middling ones times a batch"
    )
    trace: bool | Literal["auto"] = Field(
        "auto", description="replay a step's operations without autograd; auto does where that is found quicker"
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        "fp32", description="of the forward pass; weights stay float32, and with fp16 gradients are scaled"
    )
    channels_last: bool | Literal["auto"] = Field(
        "auto", description="lay convolutions with their channels last in memory; auto does where it is quicker"
    )
    compile: bool = Field(False, description="compile the network with torch.compile before the first step")
    deterministic: bool = Field(False, description="take only operations that give the same bits each time")
    detect_anomaly: bool = Field(False, description="name the node in which a NaN first arises; slow")
    shuffle: bool = Field(True, description="a new order of the training set in each epoch")
    sampling: Sampling | None = Field(
        None, description="draw with replacement: balanced or weights, or in full; null: each example once an epoch"
    )
    augment: Annotated[list[Augmentation], Choice(AUGMENTATIONS)] = Field(
        [], max_length=100, description="random changes of the examples while training, in their order"
    )
    test_time: Annotated[View | None, Choice(VIEWS)] = Field(
        None, description="views of each example at evaluation, whose predictions are averaged"
    )
    drop_last: bool = Field(False, description="leave out the last update of an epoch where it has fewer examples")
    evaluate_every: PositiveInt | None = Field(
        None, description="steps between two evaluations; else an epoch, or more to keep it to about a hundred"
    )
    early_stopping: EarlyStopping | None = Field(None, description="end where a metric is no longer getting better")
    keep_best: KeepBest | None = Field(None, description="checkpoints of the best evaluations: how many, or in full")
    average: Annotated[Average | None, Choice(AVERAGES)] = Field(
        None, description="the average of the weights that is judged and kept in place of the last ones"
    )
    recompute_statistics: bool | None = Field(
        None, description="of batch norms, at the end, over the training set; else for polyak and swa"
    )
    max_time: MaxTime | None = Field(
        None, description="a time such as 90s, 30m, 2h or 1h30m after which the run stops, to be resumed"
    )
    save_every: PositiveInt | None = Field(
        None, description="steps between two checkpoints to go on from; else about every five seconds"
    )
    log_every: PositiveInt | None = Field(
        None, description="steps between two points of the loss curve; else about 500 points"
    )
    log_gradients: bool = Field(
        False, description="record at these points the norms of gradients and updates of each layer, too"
    )
    samples: Samples | None = Field(
        None, description="texts that a language model writes on its way: every how many steps, or in full"
    )

    _named: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)
    """Values of `optimizer`, `schedule` and `average` by field and network, where they are not common to all."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("training lasts `steps: N` or `epochs: N`: give one of the two")
        return self

    @model_validator(mode="after")
    def _goes_with_the_optimizer(self) -> Self:
        kind = self.optimizer.kind
        if self.optimizer.only_whole and not self.is_whole:
            raise ValueError(f"{kind} takes the whole training set in a step: drop `batch_size`, or take `sgd`")
        if self.optimizer.takes != "gradient" and (self.clip_norm or self.clip_value):
            raise ValueError(f"{kind} looks at the loss more than once a step, and its gradients cannot be clipped")
        if self.optimizer.takes != "gradient" and self.augment:
            raise ValueError(
                f"{kind} looks at the loss more than once a step, and `augment` would show it another one"
            )
        if self.groups and not self.optimizer.grouped:
            raise ValueError(f"{kind} moves all weights together, and takes no `groups`")
        if any(g.weight_decay is not None for g in self.groups) and not hasattr(self.optimizer, "weight_decay"):
            raise ValueError(f"{kind} has no weight_decay, and one of the `groups` gives it")
        return self

    @model_validator(mode="after")
    def _draws_in_one_way(self) -> Self:
        if self.sampling is None:
            return self
        if not self.shuffle:
            raise ValueError("`sampling` draws examples, and `shuffle: false` takes them as they lie: drop one")
        if self.is_whole:
            what = "a batch is" if self.batch_size == "all" else f"{self.optimizer.kind} takes"
            raise ValueError(f"{what} the whole training set, and `sampling` draws examples of it: drop `sampling`")
        return self

    @model_validator(mode="after")
    def _can_be_computed(self) -> Self:
        kind, asks = self.optimizer.kind, self.optimizer.takes != "gradient"
        if asks and self.precision == "fp16":
            raise ValueError(f"{kind} looks at the loss more than once a step, and fp16 would scale it: take bf16")
        if asks and self.channels_last is True:
            raise ValueError(f"{kind} lays all weights end to end, and takes no `channels_last`")
        if self.compile and self.detect_anomaly:
            raise ValueError("`detect_anomaly` walks node by node, and `compile` makes one of all nodes: drop one")
        for name, on in {
            f"precision: {self.precision}": self.precision in {"bf16", "fp16"},
            "compile: true": self.compile,
            "detect_anomaly: true": self.detect_anomaly,
        }.items():
            if on and self.trace is True:
                raise ValueError(f"`trace: true` replays plain steps, and `{name}` makes others of them: drop one")
        return self

    @model_validator(mode="after")
    def _has_cycles_for_snapshots(self) -> Self:
        if self.ensemble is None:
            return self
        if self.ensemble.members and self.seeds > 1:
            many = f"`ensemble` trains {self.ensemble.members} networks and `seeds` {self.seeds}"
            raise ValueError(f"{many}: give one of the two, as the members are those of as many seeds")
        if self.ensemble.members and self.bootstrap:
            raise ValueError("`bootstrap` stands beside `ensemble`: write `ensemble: {members: N, bootstrap: true}`")
        if self.ensemble.snapshots and self.early_stopping is not None:
            raise ValueError("`early_stopping` may end before the cycles that `snapshots` wants: drop one of the two")
        if self.ensemble.snapshots and not self.schedule.restarts:
            raise ValueError(
                f"a snapshot is taken where the schedule starts again, and {self.schedule.kind} never does: "
                "write `schedule: {cosine_restarts: 10}`"
            )
        return self

    @model_validator(mode="after")
    def _batches_can_grow(self) -> Self:
        if self.batch_schedule is not None and self.is_whole:
            raise ValueError("a batch is the whole training set and cannot grow: drop `batch_schedule`")
        most = self.batch_schedule.max_size if self.batch_schedule is not None else None
        if most is not None and self.batch_size != "all" and most < self.batch_size:
            raise ValueError(f"`max_size: {most}` of the batch_schedule is below `batch_size: {self.batch_size}`")
        return self

    @model_validator(mode="after")
    def _has_the_momentum_that_moves(self) -> Self:
        if not self.schedule.moves_momentum or hasattr(self.optimizer, "betas"):
            return self
        kind = self.optimizer.kind
        momentum = getattr(self.optimizer, "momentum", getattr(self.optimizer, "beta", None))
        if momentum is None:
            raise ValueError(f"the schedule moves the momentum, and {kind} has none: drop `cycle_momentum`")
        if not momentum:
            raise ValueError(f"the schedule moves the momentum, and that of {kind} is 0: write `momentum: 0.95`")
        return self

    @model_validator(mode="after")
    def _has_some_time(self) -> Self:
        if self.max_time is not None and self.limit == 0:
            raise ValueError(f"`max_time: {self.max_time}` leaves no time for a single update")
        return self

    # --- several networks -------------------------------------------------------------------------------------------

    def by_network(self, named: Mapping[str, Mapping[str, Any]]) -> Train:
        """Return the training of several networks: `named` has the values of `optimizer`, `schedule` and `average`
        by field and network. Those fields themselves get their defaults."""
        copy = self.model_copy(update={key: self.default_of(key) for key in named})
        copy._named = {key: dict(parts) for key, parts in named.items()}
        return copy

    def of(self, network: str) -> Train:
        """Return the training of one network: its own optimizer, schedule and average, the rest common."""
        copy = self.model_copy(update={key: parts[network] for key, parts in self._named.items() if network in parts})
        copy._named = {}
        return copy

    @property
    def optimizers(self) -> Mapping[str, Optimizer]:
        """Optimizers by network; empty where `optimizer` is common to all."""
        return self._named.get("optimizer", {})

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """Schedules by network; empty where `schedule` is common to all."""
        return self._named.get("schedule", {})

    @property
    def averages(self) -> Mapping[str, Average]:
        """Weight averages by network; empty where `average` is common to all."""
        return self._named.get("average", {})

    def following(self, metric: str) -> Train:
        """Return the training in which early stopping and schedules that name no metric follow this one."""
        found = {key: _follows(getattr(self, key), metric) for key in ("early_stopping", "schedule")}
        if self.keep_best is not None and self.keep_best.metric is None and self.early_stopping is None:
            found["keep_best"] = self.keep_best.model_copy(update={"metric": metric})
        own = {name: _follows(one, metric) for name, one in self.schedules.items()}
        copy = self.model_copy(update=found)
        copy._named = {**self._named, **({"schedule": own} if own else {})}
        return copy

    def named(self, field: str) -> Mapping[str, Any]:
        """Return the values of a field by network; empty where it is common to all."""
        return self._named.get(field, {})

    def values(self) -> dict[str, Any]:
        """Return the value of each field; a mapping of networks to values where it is by network."""
        return {field: self.named(field) or getattr(self, field) for field in type(self).model_fields}

    # --- length -----------------------------------------------------------------------------------------------------

    @property
    def limit(self) -> int | None:
        """`max_time` in seconds; None without one."""
        return None if self.max_time is None else seconds(self.max_time)

    @property
    def is_whole(self) -> bool:
        """Whether a batch is the whole training set: by `batch_size: all`, or by default of the optimizer."""
        # The default of 32 must not turn an optimizer that needs the whole training set, as L-BFGS, into another one.
        return self.batch_size == "all" or (self.optimizer.whole and "batch_size" not in self.model_fields_set)

    def batch(self, examples: int, epoch: int = 0) -> int:
        """Return the examples in a batch, for a training set of `examples`, in an epoch counted from 0."""
        if self.is_whole or self.batch_size == "all":
            return examples
        grown = self.batch_size if self.batch_schedule is None else self.batch_schedule.size(self.batch_size, epoch)
        return min(grown, examples)

    def largest(self, examples: int) -> int:
        """Return the size of the largest batch, whose activations are in memory at once."""
        milestones = self.batch_schedule.milestones if self.batch_schedule is not None else []
        last = max((epoch for epoch in milestones if self.epochs is None or epoch < self.epochs), default=0)
        # With `accumulate` a grown batch is computed as more batches of the first size.
        return self.batch(examples, last if self.accumulate == 1 else 0)

    def per_update(self, examples: int, epoch: int = 0) -> int:
        """Return the examples in an update: a batch, or `accumulate` of them."""
        return min(self.batch(examples, epoch) * self.accumulate, examples)

    def updates(self, examples: int, epoch: int = 0) -> int:
        """Return the updates in an epoch."""
        size = self.per_update(examples, epoch)
        return examples // size if self.drop_last else ceil(examples / size)

    def span(self, examples: int) -> Timeline:
        """Return the length of the training: its updates, and how many make an epoch."""
        if self.batch_schedule is not None:
            return self.batch_schedule.span(lambda epoch: self.updates(examples, epoch), self.steps, self.epochs or 0)
        per_epoch = self.updates(examples)
        return Timeline(self.steps or (self.epochs or 0) * per_epoch, per_epoch)
