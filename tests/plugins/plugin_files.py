"""Plugins as text, and commands run in this process."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from dlx import cli

HEAD = """from typing import ClassVar

from dlx.layers import Example, Layer, Plan
from dlx.lazy import nn, torch


"""


def layer(kind: str, body: str = "return Plan(x)", name: str = "Part") -> str:
    """The class of a layer that hands its input on; `body` is its plan."""
    return f'''class {name}(Layer):
    """Hand on what comes in."""

    kind: ClassVar[str] = "{kind}"

    def plan(self, x):
        {body}

    def module(self, x):
        return nn.Identity()


'''


def write(folder: Path, **texts: str) -> Path:
    """Files by name, `__` for `/` and `.py` unless another suffix is named: `s_yaml`. The last one's path."""
    path = folder
    for name, text in texts.items():
        stem, _, suffix = name.rpartition("_")
        short = (f"{stem}.{suffix}" if suffix in {"yaml", "toml"} else f"{name}.py").replace("__", "/")
        path = folder / (name if "." in name else short)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def dlx(*words: object) -> tuple[int, str, str]:
    """A command's exit status, and what it writes to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["dlx", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    return int(end.value.code or 0), out.getvalue(), err.getvalue()
