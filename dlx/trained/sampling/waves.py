"""Waves of a network that tells the class of the next value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DlxError, first_line
from ...lazy import np, torch
from ...utils.numbers import as_number
from ..row_files import as_csv, write_whole
from .forms import Beginning, Sample, bits_of

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from ...data.base import Codes
    from ...objectives import Supervised
    from ...training.generation.decoding import Generated

    Wave = npt.NDArray[np.float32]

RATE = 16_000
"""Steps a second of a .wav file, where nothing else is said."""
FILES = ".wav, .npy or .csv"


@dataclass(frozen=True)
class WaveSample(Sample):
    """One wave: its values (n,), and the whole of it with the prompt before."""

    values: Wave = field(compare=False)
    whole: Wave = field(compare=False)

    def as_json(self) -> dict[str, Any]:
        return {"values": [round(float(one), 6) for one in self.values], **super().as_json()}


@dataclass(frozen=True)
class Waves:
    """Tokens that stand for values of a wave."""

    objective: Supervised
    codes: Codes
    size: int
    window: int
    unit: str = "step"

    def inputs(self, tokens: Tensor) -> Tensor:
        return torch.from_numpy(self._values(tokens.numpy()))[:, None]

    def _values(self, classes: Any) -> Wave:
        values: Wave = self.codes.decoded(np.asarray(classes, np.int64)).astype(np.float32)
        return values

    def logits(self, outputs: Any) -> Tensor:
        return self.objective.main(outputs).movedim(1, -1)

    def beginning(self, prompt: Any) -> Beginning:
        if prompt is None:
            return Beginning(self._classes([0.0]), None, ("no --prompt: it begins after silence",))
        name = str(prompt) if isinstance(prompt, str | Path) else "<prompt>"
        return Beginning(self._classes(_prompt(prompt, name)), name)

    def _classes(self, values: Any) -> list[int]:
        return [int(one) for one in self.codes.encoded(np.asarray(values, np.float64))]

    def sample(self, made: Generated, before: Sequence[int]) -> WaveSample:
        values, whole = self._values(made.tokens), self._values([*before, *made.tokens])
        return WaveSample(made.tokens, bits_of(made), values, whole)


# --- files ----------------------------------------------------------------------------------------------------------


def _prompt(prompt: Any, name: str) -> Any:
    """Return the values (n,) of a wave to go on with, from -1 to 1."""
    try:
        values = _read(Path(prompt)) if isinstance(prompt, str | Path) else np.asarray(prompt, np.float64)
    except OSError as error:
        raise DlxError(f"the prompt {name} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ValueError as error:
        hint = f"Give a wave as {FILES}, one value a line."
        raise DlxError(f"the prompt {name} is no wave: {first_line(error)}", hint=hint) from None
    values = values[0] if values.ndim == 2 and len(values) == 1 else values
    if values.ndim != 1 or not values.size:
        raise DlxError(f"the prompt {name} has the shape {values.shape}, and one wave is wanted: (steps,)")
    largest = np.abs(values).max()
    if not largest <= 1:
        raise DlxError(
            f"the prompt {name} has values up to {largest:g}, and a wave is from -1 to 1", hint="Scale it first."
        )
    return values


def _read(path: Path) -> Any:
    if path.suffix == ".wav":
        from scipy.io import wavfile

        _, values = wavfile.read(path)
        if values.dtype.kind == "u":
            return (values.astype(np.float64) - 128) / 128
        return values / -float(np.iinfo(values.dtype).min) if values.dtype.kind == "i" else values.astype(np.float64)
    if path.suffix == ".npy":
        return np.load(path).astype(np.float64)
    if path.suffix == ".csv":
        lines = path.read_text().split()
        header = bool(lines) and as_number(lines[0]) is None
        return np.array([float(line) for line in lines[header:]])
    raise ValueError(f"it ends in {path.suffix or 'nothing'}")


def table(titles: Sequence[str], waves: Sequence[Wave]) -> bytes:
    """Return waves as CSV: a column each, a line a step."""
    return as_csv(titles, [[f"{float(one):.6f}" for one in row] for row in zip(*waves, strict=True)])


def check_output(path: Path, samples: int) -> None:
    """Raise DlxError for a file that cannot hold so many waves."""
    if path.suffix not in (".wav", ".npy", ".csv"):
        raise DlxError(f"{path} ends in {path.suffix or 'nothing'}", hint=f"Waves are written to {FILES}.")
    if path.suffix == ".wav" and samples > 1:
        hint = "Write them to .npy or .csv, or take one sample."
        raise DlxError(f"{path} holds one wave, and --samples is {samples}", hint=hint)


def write(path: Path, titles: Sequence[str], waves: Sequence[Wave], rate: int = RATE) -> None:
    """Write waves (n,) each to a file by its suffix."""
    check_output(path, len(waves))
    data = BytesIO()
    if path.suffix == ".wav":
        from scipy.io import wavfile

        wavfile.write(data, rate, np.round(waves[0] * 32767).astype(np.int16))
    elif path.suffix == ".npy":
        np.save(data, np.stack(waves))
    else:
        data.write(table(titles, waves))
    write_whole(path, data.getvalue())
