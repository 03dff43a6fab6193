"""The spec that `dlx new` writes."""

from __future__ import annotations

from pathlib import Path

from ..errors import DlxError, Mark, Problem, did_you_mean
from . import shipped
from .starters.builtin import STARTERS

DEFAULT = "digits"

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


def names() -> dict[str, str]:
    """The starters, and what each is for."""
    return {DEFAULT: "classes of pictures: a small network on real digits"} | {
        name: starter.about for name, starter in STARTERS.items()
    }


def write(path: Path, starter: str = DEFAULT, *, force: bool = False) -> None:
    """Write a starter, or a copy of a shipped spec, to `path`.

    DlxError where the file exists, its suffix is neither .yaml nor .toml, or there is no such starter.
    """
    check(path, force=force)
    save(path, _text(path, starter))


def write_for(
    path: Path, data: Path, target: str | None = None, *, unlabelled: bool = False, force: bool = False
) -> tuple[str, ...]:
    """Write a spec that fits the data, and return sentences about how. DlxError where that cannot be done.

    Of `unlabelled` data it is an autoencoder.
    """
    from .starters.from_data import draft

    check(path, force=force)
    if path.suffix == ".toml":
        raise DlxError(Problem("a spec for data is written as YAML", "Name a .yaml.", Mark(str(path))))
    found = draft(data, path, _name(path), target, unlabelled)
    save(path, found.text)
    return found.notes


def _text(path: Path, starter: str) -> str:
    toml = path.suffix == ".toml"
    if starter == DEFAULT:
        return (TOML if toml else YAML).format(name=_name(path))
    if starter in STARTERS and not toml:
        return STARTERS[starter].text.format(name=_name(path))
    file = None if starter in STARTERS else shipped.find(starter)
    if file is None and starter not in STARTERS:
        hint = did_you_mean(starter, [*names(), *shipped.names()], "starters")
        if hint.startswith("There"):
            hint = f"There are {', '.join(names())}, and the specs that `dlx specs` lists."
        raise DlxError(f"there is no starter and no shipped spec `{starter}`", hint=hint)
    if file is None or (file.suffix == ".toml") != toml:
        other = "TOML" if toml is False else "YAML"
        raise DlxError(Problem(f"`{starter}` is written in {other}", f"Name a .{other.lower()}.", Mark(str(path))))
    from .sections.experiment import load
    from .syntax.read import read

    return load(file).resolved() if read(file).at("defaults") is not None else file.read_text(encoding="utf-8")


def _name(path: Path) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in path.stem).lstrip(".")[:100] or "first"


def check(path: Path, *, force: bool) -> None:
    """Raise DlxError where a spec cannot be written to `path`."""
    if path.suffix not in shipped.SUFFIXES:
        raise DlxError(Problem("a spec ends in .yaml or .toml", "", Mark(str(path))))
    if path.exists() and not (force and path.is_file()):
        hint = "Name another file, or write over it with `--force`." if path.is_file() else "Name another file."
        raise DlxError(Problem("is there already, and stays as it is", hint, Mark(str(path))))


def save(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DlxError(Problem(f"cannot be written: {error.strerror}", "", Mark(str(path)))) from error
