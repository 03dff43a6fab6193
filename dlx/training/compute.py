"""How a training is computed: its precision, how images lie in memory, compiled or not, watched or not."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, Mark, Problem, RunError, first_line
from ..lazy import nn, torch
from ..spec import Train
from ..utils.torch_private import MissingNameError, attribute
from . import fallback
from .anomalies import Anomalies

if TYPE_CHECKING:
    from torch import Tensor
    from torch import device as Device

    from .batches.data_part import DataPart

Call = Callable[["Tensor"], Any]
"""A network as it is called: from a batch to an output, or to several by name."""
LossOf = Callable[[Any, "Tensor"], "Tensor"]
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


class Compute:
    """How the networks of a learner are called, and how its gradients come about.

    `plain` says that nothing of it is on: `forward` is then the network itself, `backward` torch's own, `unscale` and
    the scaler are not there, and an update is no other code than without this.
    """

    def __init__(self, train: Train, network: nn.Module, step: Callable[[], int], faults: list[str]) -> None:
        """`step` says how many updates there have been; what goes wrong with torch joins `faults`."""
        self.faults = faults
        self.train, self.network = train, network
        self.device: Device = next(network.parameters()).device
        self.precision = precision_on(train, self.device)
        self.memory_format = lay_out(network, train, self.device, self.precision)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.precision == "fp16" else None
        self.skipped = torch.zeros((), device=self.device)
        """Updates that were left out because a gradient was not finite."""
        self.seconds: float | None = None
        """What compiling took."""
        self.watched = Anomalies(network, step, backward=self.scaler is None) if train.detect_anomaly else None
        self.plain = self.precision in {"fp32", "tf32"} and not train.compile and self.watched is None
        self.forward: Call = self._training_call()

    def of(self, network: nn.Module) -> Call:
        """How a network is called in this precision. Its outputs are float32, for losses and metrics."""
        if self.precision in {"fp32", "tf32"}:
            return network
        return self._cast(network)

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

    def _training_call(self) -> Call:
        network: Any = self.network
        if self.watched is not None:
            network = self.watched.forward
        elif self.train.compile:
            network = torch.compile(network, dynamic=False)
        return network if self.precision in {"fp32", "tf32"} else self._cast(network)

    def loss(self, function: LossOf) -> LossOf:
        """The loss as training asks for it."""
        return function if self.watched is None else self.watched.loss(function)

    # ---- gradients -------------------------------------------------------------------------------------------------

    @property
    def backward(self) -> Callable[[Tensor], None]:
        """Leaves the gradients of a loss with the weights, scaled where they are scaled."""
        scaler = self.scaler
        if scaler is None:
            return torch.Tensor.backward

        def scaled(loss: Tensor) -> None:
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

        return scaled

    def unscale(self, optimizer: torch.optim.Optimizer) -> Callable[[], None] | None:
        """Makes scaled gradients what they are, once they are all there; None where they never were scaled."""
        scaler = self.scaler
        return None if scaler is None else lambda: scaler.unscale_(optimizer)

    def step(self, step: Callable[..., Any], optimizer: torch.optim.Optimizer) -> Callable[..., Any]:
        """The optimizer's step, left out where a gradient is not finite and the scale was too large."""
        scaler, skipped = self.scaler, self.skipped
        if scaler is None:
            return step
        try:
            found_by_device = attribute(scaler, "_found_inf_per_device")
        except MissingNameError as error:
            fallback.note([self.faults], fallback.SKIPPED, error)
            return self._watched_by_scale(scaler, optimizer)

        def scaled() -> None:
            scaler.step(optimizer)
            for found in found_by_device(optimizer).values():  # it stays on the device
                skipped.add_(found.to(skipped.device).clamp(max=1))
            scaler.update()

        return scaled

    def _watched_by_scale(self, scaler: torch.amp.GradScaler, optimizer: torch.optim.Optimizer) -> Callable[[], None]:
        """The same by the scale, which is lower after an update that was left out; it waits for the device."""

        def scaled() -> None:
            before = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            self.skipped.add_(float(scaler.get_scale() < before))

        return scaled

    def figures(self) -> dict[str, float]:
        """What a point of the curve tells of it."""
        if self.scaler is None:
            return {}
        return {"loss_scale": self.scaler.get_scale(), "skipped_steps": float(self.skipped)}

    # ---- compiling -------------------------------------------------------------------------------------------------

    def prepare(self, part: DataPart) -> None:
        """Compile for every size of batch of `part`, and leave the network as it is. RunError where torch cannot."""
        if not self.train.compile:
            return
        network, began = self.network, time.perf_counter()
        buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
        network.train()
        try:
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                for size in self._sizes(len(part)):
                    self._try(size, part.x)
        except RuntimeError as error:
            raise RunError(
                f"torch.compile could not compile the network: {first_line(error)}",
                hint="Drop `compile: true`: it trains without.",
            ) from error
        finally:
            for buffer, was in buffers:
                buffer.copy_(was)
            network.zero_grad(set_to_none=True)
        self.seconds = time.perf_counter() - began

    def _sizes(self, examples: int) -> list[int]:
        """The sizes of batches: those of a whole update, and what is left at the end of an epoch."""
        batch, update = self.train.batch(examples), self.train.per_update(examples)
        left = 0 if self.train.drop_last else examples % update
        return sorted({batch, update % batch, left % batch, batch if left >= batch else left} - {0}, reverse=True)

    def _try(self, size: int, x: Tensor) -> None:
        outputs = self.forward(torch.zeros((size, *x.shape[1:]), dtype=x.dtype, device=self.device))
        each = outputs.values() if isinstance(outputs, dict) else [outputs]
        torch.stack([output.sum() for output in each]).sum().backward()  # type: ignore[no-untyped-call]

    # ---- what is told and kept -------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """What was chosen, for lock.json."""
        train = self.train
        told: dict[str, Any] = {"precision": self.precision, "memory_format": self.memory_format}
        if self.seconds is not None:
            told["compile_seconds"] = round(self.seconds, 2)
        return told | {"compile": train.compile, "deterministic": train.deterministic}

    def words(self) -> tuple[str, ...]:
        """The same for a person: what differs from float32 on contiguous memory."""
        train = self.train
        chosen = {
            self.precision: self.precision != "fp32",
            self.memory_format.replace("_", "-"): self.memory_format != "contiguous",
            "compiled" + (f" in {self.seconds:.1f} s" if self.seconds is not None else ""): train.compile,
            "deterministic": train.deterministic,
            "watched for anomalies": train.detect_anomaly,
        }
        return tuple(word for word, holds in chosen.items() if holds)

    def notes(self) -> tuple[str, ...]:
        """What is worth a sentence before training begins."""
        if self.device.type != "cpu":
            return ()
        if self.train.precision == "tf32":
            return ("tf32 is for CUDA: on the CPU it is fp32.",)
        known = getattr(torch.ops.mkldnn, f"_is_mkldnn_{self.precision}_supported", lambda: True)
        return () if known() else (f"This CPU has no instructions for {self.precision}: it is slower than fp32.",)

    def state(self) -> dict[str, Any] | None:
        """What an update moves of it."""
        return None if self.scaler is None else {"scaler": self.scaler.state_dict(), "skipped": self.skipped}

    def restore(self, state: dict[str, Any] | None, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Bring back what was moved, and lay what the optimizer keeps as its weights lie: its kernels go by place."""
        if self.scaler is not None and state is not None:
            self.scaler.load_state_dict(state["scaler"])
            self.skipped.copy_(state["skipped"])
        for weight, kept in (item for optimizer in optimizers for item in optimizer.state.items()):
            for name, value in kept.items():
                if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                    kept[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)


# ---- choices -------------------------------------------------------------------------------------------------------


def precision_on(train: Train, device: Device) -> str:
    """What the precision of a spec comes to: CPUs have no tf32."""
    return "fp32" if train.precision == "tf32" and device.type == "cpu" else train.precision


def lay_out(network: nn.Module, train: Train, device: Device, precision: str) -> str:
    """Lay the weights of convolutions as the spec wants: what comes out of them lies the same way.

    By `auto` channels of images are last on a CPU, where a step takes 0.66 to 0.9 of the time (LeNet, ResNet-20,
    MobileNet and the start of a DenseNet, on one thread), and on CUDA in the precisions that have tensor cores.
    L-BFGS lays gradients end to end and wants plain ones.
    """
    wanted = train.channels_last
    if wanted == "auto":
        wanted = train.optimizer.takes == "gradient" and (device.type == "cpu" or precision in {"bf16", "fp16"})
    kinds = {
        "channels_last": (torch.nn.Conv2d, torch.nn.ConvTranspose2d),
        "channels_last_3d": (torch.nn.Conv3d, torch.nn.ConvTranspose3d),
    }
    if train.channels_last == "auto":
        del kinds["channels_last_3d"]
    if not wanted:
        return "contiguous"
    found = []
    for name, classes in kinds.items():
        weights = [m.weight for m in network.modules() if isinstance(m, classes)]
        weights = [w for w in weights if isinstance(w, torch.nn.Parameter)]  # else it is worked out from others
        for weight in weights:
            weight.data = weight.data.to(memory_format=getattr(torch, name))
        found += [name] if weights else []
    return "+".join(found) or "contiguous"


def check(train: Train, device: Device, place: Mark | None = None) -> None:
    """DlxError where `compile` has no compiler."""
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
    """What torch holds for the whole process, set for one training and given back.

    RunError where something has no deterministic form, and none but that was asked for.
    """
    with ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(_floats("tf32" if train.precision == "tf32" else "ieee"))
        if train.deterministic:
            stack.enter_context(_deterministic())
        try:
            yield
        except RuntimeError as error:
            found = re.search(r"(\S+) does not have a deterministic implementation", str(error))
            if found is None:
                raise
            raise RunError(_undetermined(found[1], device, error.__traceback__)) from error


def _undetermined(operation: str, device: Device, trace: TracebackType | None) -> Problem:
    name, mark = node_at(trace)
    who = f"`{name}` runs {operation}" if name else f"the backward pass runs {operation}"
    return Problem(
        f"{who}, which has no deterministic form on {device.type}",
        "Drop `deterministic: true`, or put another layer there.",
        mark,
        "train.deterministic",
    )


def node_at(trace: TracebackType | None) -> tuple[str, Mark | None]:
    """The node of the spec that a network was at when something went wrong; empty where it was at none."""
    import linecache

    name, mark = "", None
    while trace is not None:
        frame = trace.tb_frame
        network = frame.f_locals.get("self")
        if isinstance(network, torch.fx.GraphModule) and frame.f_code.co_name == "forward":
            made = linecache.getline(frame.f_code.co_filename, trace.tb_lineno).split("=")[0].strip()
            for node in network.graph.nodes:
                if node.name == made:
                    name, mark = node.meta.get("node", node.name), node.meta.get("mark")
        trace = trace.tb_next
    return name, mark


@contextmanager
def _floats(precision: str) -> Iterator[None]:
    """Whether CUDA rounds the factors of float32 products to tf32. By default torch does so in convolutions."""
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
    cudnn, env = torch.backends.cudnn, os.environ.get(WORKSPACE)
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    chosen = cudnn.benchmark, cudnn.deterministic
    os.environ.setdefault(WORKSPACE, ":4096:8")
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, cudnn.deterministic = chosen
        if env is None:
            os.environ.pop(WORKSPACE, None)
