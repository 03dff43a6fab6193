"""Computation of a training: precision, memory format, compiling, determinism, detection of anomalies."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, Mark, Problem, RunError, first_line
from ..lazy import nn, torch
from ..spec import Train
from ..utils.torch_private import MissingNameError, attribute
from . import fallback
from .anomalies import AnomalyDetector
from .compiled_graphs import graphs_compiled, recurrent_allowed, recurrent_layers
from .memory_format import BLOCKED, evaluation_of, lay_in_blocks, set_memory_format, step_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

    from ..data.batch import Batch
    from .batches.data_part import DataPart

Forward = Callable[..., Any]
"""Call of a network, from its inputs in their order to an output, or to several by name."""
LossFunction = Callable[[Any, "Tensor"], "Tensor"]
CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class Compute:
    """Calls of the networks of a learner, and computation of their gradients.

    Where `is_plain`, `forward` is the network itself, `backward` is torch's own, `unscale` and `scaler` are None, and
    an update costs nothing more than it would without this class.
    """

    def __init__(self, train: Train, network: nn.Module, step: Callable[[], int], faults: list[str]) -> None:
        """`step` returns how many updates there have been; failures with torch's private names go to `faults`."""
        self.faults = faults
        self.train, self.network = train, network
        self.device: Device = next(network.parameters()).device
        self.precision = precision_on(train, self.device)
        self.memory_format = set_memory_format(network, train, self.device, self.precision)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        self.skipped = torch.zeros((), device=self.device)
        """Updates that the loss scaler skipped because a gradient was not finite; on the device."""
        self.seconds: float | None = None
        """Time that compiling took."""
        self.graphs: int | None = None
        """Graphs that torch compiled the network to; 0 where it left it as it is."""
        self.detector = AnomalyDetector(network, step, backward=self.scaler is None) if train.detect_anomaly else None
        self.is_plain = self.precision in {"fp32", "tf32"} and not train.compile and self.detector is None
        self.forward: Forward = self._training_call()
        self._evaluations: dict[nn.Module, Forward] = {}

    def of(self, network: nn.Module) -> Forward:
        """Return the call of a network for evaluations, in this precision and in the layout that is quicker.

        Its outputs are float32, for losses and metrics.
        """
        if self.precision not in {"fp32", "tf32"}:
            return self._cast(network)
        if not self.is_plain or self.train.channels_last != "auto":
            return network
        if network not in self._evaluations:
            self._evaluations[network] = evaluation_of(network, self.faults)
        return self._evaluations[network]

    def measurable(self, outputs: Any, batch: Batch) -> tuple[Any, Batch]:
        """Return outputs and a batch where metrics can sum them in float64, which mps does not have: on the host."""
        if self.device.type != "mps":
            return outputs, batch
        found = {name: one.cpu() for name, one in outputs.items()} if isinstance(outputs, dict) else outputs.cpu()
        return found, replace(batch, fields={name: one.cpu() for name, one in batch.fields.items()})

    def _cast(self, call: Callable[..., Any]) -> Callable[..., Any]:
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        autocast, kind = torch.autocast, self.device.type

        def forward(*inputs: Tensor, **named: Tensor) -> Any:
            with autocast(kind, dtype):
                outputs = call(*inputs, **named)
            if isinstance(outputs, dict):
                return {name: output.float() for name, output in outputs.items()}
            return outputs.float()

        return forward

    def _training_call(self) -> Forward:
        network: Any = self.network
        if self.detector is not None:
            network = self.detector.forward
        elif self.train.compile:
            network = torch.compile(network, dynamic=False)
        return network if self.precision in {"fp32", "tf32"} else self._cast(network)

    def step_call(self) -> Forward:
        """Return the call of the network in steps, in the modes that its modules have now."""
        return step_of(self.network) if self.memory_format == BLOCKED else self.forward

    def loss(self, function: LossFunction) -> LossFunction:
        """Return the loss function for training, which checks for NaN and infinity where anomalies are detected."""
        return function if self.detector is None else self.detector.loss(function)

    # ---- gradients -------------------------------------------------------------------------------------------------

    @property
    def backward(self) -> Callable[[Tensor], None]:
        """Function that leaves the gradients of a loss in `grad` of the weights, times the loss scale."""
        scaler = self.scaler
        if scaler is None:
            return torch.Tensor.backward

        def scaled(loss: Tensor) -> None:
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

        return scaled

    def unscale(self, optimizer: torch.optim.Optimizer) -> Callable[[], None] | None:
        """Return the function that divides all gradients by the loss scale; None without one."""
        scaler = self.scaler
        return None if scaler is None else lambda: scaler.unscale_(optimizer)

    def step(self, step: Callable[..., Any], optimizer: torch.optim.Optimizer) -> Callable[..., Any]:
        """Return the optimizer's step; with a loss scale it is skipped where a gradient is not finite."""
        scaler, skipped = self.scaler, self.skipped
        if scaler is None:
            return step
        try:
            found_by_device = attribute(scaler, "_found_inf_per_device")
        except MissingNameError as error:
            fallback.note([self.faults], fallback.SKIPPED, error)
            return self._count_skipped_by_scale(scaler, optimizer)

        def scaled() -> None:
            scaler.step(optimizer)
            # counted on the device, before `update` forgets it: torch's public names tell it only by a wait for the
            # host
            for found in found_by_device(optimizer).values():
                skipped.add_(found.to(skipped.device).clamp(max=1))
            scaler.update()

        return scaled

    def _count_skipped_by_scale(
        self, scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer
    ) -> Callable[[], None]:
        """Return the step that counts by the scale: it is lower after a skipped update. It waits for the device."""

        def scaled() -> None:
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            self.skipped.add_(float(scaler.get_scale() < before))

        return scaled

    def figures(self) -> dict[str, float]:
        """Return the figures that points of the curve have with a loss scale."""
        if self.scaler is None:
            return {}
        return {"loss_scale": self.scaler.get_scale(), "skipped_steps": float(self.skipped)}

    # ---- compiling -------------------------------------------------------------------------------------------------

    def prepare(self, part: DataPart, macs: int = 0) -> None:
        """Lay images out as steps are quickest, and compile for every batch size of `part`; weights and buffers stay.

        `macs` are those of a step, forward, of a network that is trained alone, not as a row of several.
        RunError where torch cannot compile.
        """
        if self.is_plain and self.device.type == "cpu" and self.train.channels_last == "auto":
            self.memory_format = lay_in_blocks(self.network, macs, self.memory_format)
        if not self.train.compile:
            return
        network, began = self.network, time.perf_counter()
        buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        network.train()
        before = graphs_compiled()
        try:
            cuda = [self.device] if self.device.type == "cuda" else []
            with torch.random.fork_rng(cuda), recurrent_allowed(network, self.device):
                for size in self._sizes(len(part)):
                    self._compile_for(size, [part.fields[name] for name in part.names.inputs])
        except RuntimeError as error:
            raise RunError(
                f"torch.compile could not compile the network: {first_line(error)}",
                hint="Drop `compile: true`: it trains without.",
            ) from error
        finally:
            for buffer, was in buffers:
                buffer.copy_(was)
            network.zero_grad(set_to_none=True)
        after = graphs_compiled()
        self.graphs = None if after is None else after - (before or 0)
        self.seconds = time.perf_counter() - began

    def _sizes(self, examples: int) -> list[int]:
        """Return the batch sizes of an update and of the last update of an epoch, with their pieces."""
        batch, update = self.train.batch(examples), self.train.per_update(examples)
        left = 0 if self.train.drop_last else examples % update
        return sorted({batch, update % batch, left % batch, batch if left >= batch else left} - {0}, reverse=True)

    def _compile_for(self, size: int, inputs: Sequence[Tensor]) -> None:
        outputs = self.forward(
            *(torch.zeros((size, *x.shape[1:]), dtype=x.dtype, device=self.device) for x in inputs)
        )
        each = outputs.values() if isinstance(outputs, dict) else [outputs]
        torch.stack([output.sum() for output in each]).sum().backward()  # type: ignore[no-untyped-call]

    # ---- descriptions and state ------------------------------------------------------------------------------------

    @property
    def evaluates_in_blocks(self) -> bool:
        """Whether evaluations call a network in oneDNN's own layout."""
        graphs = [one for one in self.network.modules() if isinstance(one, torch.fx.GraphModule)]
        return self.is_plain and any(self.of(one) is not one for one in graphs)

    def as_json(self) -> dict[str, Any]:
        """Return the choices for lock.json."""
        train = self.train
        choices: dict[str, Any] = {"precision": self.precision, "memory_format": self.memory_format}
        if self.evaluates_in_blocks:
            choices["evaluation_memory_format"] = BLOCKED
        if self.seconds is not None:
            choices |= {"compile_seconds": round(self.seconds, 2), "compiled_graphs": self.graphs}
        return choices | {"compile": train.compile, "deterministic": train.deterministic}

    def description(self) -> tuple[str, ...]:
        """Return the choices that differ from float32 on contiguous memory, in words."""
        train = self.train
        chosen = {
            self.precision: self.precision != "fp32",
            self.memory_format.replace("_", "-"): self.memory_format != "contiguous",
            "blocked evaluations": self.evaluates_in_blocks and self.memory_format != BLOCKED,
            "compiled" + (f" in {self.seconds:.1f} s" if self.seconds is not None else ""): train.compile
            and self.graphs != 0,
            "deterministic": train.deterministic,
            "watched for anomalies": train.detect_anomaly,
        }
        return tuple(word for word, holds in chosen.items() if holds)

    def notes(self) -> tuple[str, ...]:
        """Return sentences to show before training begins."""
        return (*self._about_device(), *self._about_compiling(), *self._about_precision())

    def _about_device(self) -> tuple[str, ...]:
        if self.device.type != "mps":
            return ()
        return ("dlx is untried on mps: hold the first losses against those of `device: cpu`.",)

    def _about_compiling(self) -> tuple[str, ...]:
        if not self.train.compile or self.graphs != 0:
            return ()
        kinds = " and ".join(recurrent_layers(self.network))
        left = (
            f"torch compiles no {kinds} on a {self.device.type.upper()}, and nothing beside it"
            if kinds
            else ("torch compiled nothing of this network")
        )
        return (f"`compile: true` is of no use here: {left}. It trains without.",)

    def _about_precision(self) -> tuple[str, ...]:
        if self.device.type != "cpu":
            return ()
        if self.train.precision == "tf32":
            return ("tf32 is for CUDA: on the CPU it is fp32.",)
        supported = getattr(torch.ops.mkldnn, f"_is_mkldnn_{self.precision}_supported", lambda: True)
        return () if supported() else (f"This CPU has no instructions for {self.precision}: it is slower than fp32.",)

    def state(self) -> dict[str, Any] | None:
        """Return what an update changes here: the loss scale; None without one."""
        return None if self.scaler is None else {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def restore(self, state: dict[str, Any] | None, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Restore what `state` returned, and give the state of optimizers the memory format of their weights."""
        if self.scaler is not None and state is not None:
            self.scaler.load_state_dict(state["scaler"])
            self.skipped.copy_(state["skipped"])
        # fused optimizers walk weight and state by memory offset, whatever the strides are, and a checkpoint's
        # tensors are contiguous: with a weight in channels_last each value would meet the momentum of another one
        for weight, values in (item for optimizer in optimizers for item in optimizer.state.items()):
            for name, value in values.items():
                if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                    values[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


# ---- choices -------------------------------------------------------------------------------------------------------


def precision_on(train: Train, device: Device) -> str:
    """Return the precision of a spec on a device: CPUs have no tf32."""
    return "fp32" if train.precision == "tf32" and device.type == "cpu" else train.precision


def check(train: Train, device: Device, place: Mark | None = None) -> None:
    """Raise DlxError where `compile` has no C++ compiler."""
    compiler = os.environ.get("CXX", "g++")
    if train.compile and device.type == "cpu" and shutil.which(compiler) is None:
        raise DlxError(
            Problem(
                f"`compile: true` wants a C++ compiler, and there is no `{compiler}` here",
                "Install one, name it in the variable CXX, or drop `compile`.",
                place,
                "train.compile",
            )
        )


# ---- torch's own switches ------------------------------------------------------------------------------------------


@contextmanager
def settings(train: Train, device: Device) -> Iterator[None]:
    """Set torch's process-wide switches for one training, and restore them.

    RunError where something has no deterministic form, and none but that was asked for.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(_float32_precision("tf32" if train.precision == "tf32" else "ieee"))
        if train.deterministic:
            stack.enter_context(_deterministic())
        try:
            yield
        except RuntimeError as error:
            found = re.search(r"(\S+) does not have a deterministic implementation", str(error))
            if found is None:
                raise
            raise RunError(_nondeterministic(found[1], device, error.__traceback__)) from error


def _nondeterministic(operation: str, device: Device, trace: TracebackType | None) -> Problem:
    name, mark = node_at(trace)
    who = f"`{name}` runs {operation}" if name else f"the backward pass runs {operation}"
    return Problem(
        f"{who}, which has no deterministic form on {device.type}",
        "Drop `deterministic: true`, or put another layer there.",
        mark,
        "train.deterministic",
    )


def node_at(trace: TracebackType | None) -> tuple[str, Mark | None]:
    """Return the node of the spec, and its place, that a network computed when an error arose; empty for none."""
    import linecache

    name, mark = "", None
    while trace is not None:
        frame = trace.tb_frame
        network = frame.f_locals.get("self")
        if isinstance(network, torch.fx.GraphModule) and frame.f_code.co_name == "forward":
            # torch.fx puts the generated code of `forward` into linecache, one line `NODE = ...` a node
            made = linecache.getline(frame.f_code.co_filename, trace.tb_lineno).split("=")[0].strip()
            for node in network.graph.nodes:
                if node.name == made:
                    name, mark = node.meta.get("node", node.name), node.meta.get("mark")
        trace = trace.tb_next
    return name, mark


@contextmanager
def _float32_precision(precision: str) -> Iterator[None]:
    """Set whether CUDA rounds factors of float32 products to tf32; torch's default does so in convolutions only."""
    cudnn: Any = torch.backends.cudnn
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = precision
    try:
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.fp32_precision = was


@contextmanager
def _deterministic() -> Iterator[None]:
    cudnn, env = torch.backends.cudnn, os.environ.get(CUBLAS_WORKSPACE)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    chosen = cudnn.benchmark, cudnn.deterministic
    # without it cuBLAS may pick another workspace, and another order of sums, from call to call; torch refuses then
    os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, cudnn.deterministic = chosen
        if env is None:
            os.environ.pop(CUBLAS_WORKSPACE, None)
