"""What a command ends in: the one place that turns an error into red text, or JSON, and an exit status."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import typer

from ..errors import DlxError, Mark, Problem, RunError

INTERRUPTED = 130
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""click's, which typer keeps in another place from version to version."""


def run(command: Callable[[], Any]) -> int:
    """Run a command; its exit status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: `dlx layers >&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - as long as the program
    shown = warnings.showwarning
    warnings.showwarning = _warned
    try:
        with interruptible():
            return _report_interrupt(command() or 0)
    except UsageError as error:
        return _usage(error)
    except DlxError as error:
        return _report(error)
    except KeyboardInterrupt:
        return _report_interrupt(INTERRUPTED)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return 0  # `dlx layers | head`, noticed while it writes
    except OSError as error:
        return _of_system(error)
    finally:
        warnings.showwarning = shown


def _warned(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001 - Python calls it so
    filename: str,
    lineno: int,  # noqa: ARG001
    file: object = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """A warning of a library in one line, without the path and the source of the line that gave it."""
    from ..show.terminal_text import visible

    library = filename.rpartition("site-packages" + os.sep)[2].partition(os.sep)[0].removesuffix(".py")
    text = " ".join(str(message).split())
    sys.stderr.write(visible(f"{library if os.sep not in library else 'a library'} warns: {text}") + "\n")


def _report_interrupt(status: int) -> int:
    """Report Ctrl-C by its exit status, which typer makes of a KeyboardInterrupt without a word; returns `status`."""
    if status == INTERRUPTED:
        sys.stderr.write("  interrupted\n")
    return status


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C is a KeyboardInterrupt inside, and what it was outside."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # whoever started the program does not want it to end by that
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _of_system(error: OSError) -> int:
    """A file that cannot be had, or an output that takes no more."""
    if isinstance(error, BrokenPipeError):  # `dlx layers | head`, noticed at the end
        sys.stderr.close()
        return 0
    if error.filename:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
        return _report(RunError(Problem((error.strerror or str(error)).lower(), "", Mark(name))))
    sys.stderr.write(f"  the output could not be written: {error.strerror}\n")
    return 1


def _report(error: DlxError) -> int:
    from ..show import console

    console.errors(error, as_json="--json" in sys.argv[1:])
    return error.exit_code


def _usage(error: typer.BadParameter) -> int:
    if "--json" in sys.argv[1:]:
        return _report(DlxError(error.format_message()))
    from ..show.terminal_text import visible

    error.message = visible(error.message)
    error.show()
    return error.exit_code
