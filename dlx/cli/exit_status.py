"""The end of a command: the one place that turns errors into red text, or JSON, and an exit status."""

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
from ..utils import json_documents

INTERRUPTED = 130
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__bases__[0])
"""click's UsageError. Found as a base class, since typer keeps click in another module from version to version."""


def run(command: Callable[[], Any]) -> int:
    """Run a command and return its exit status."""
    from .. import plugins  # not at the top: pydantic would slow down shell completion, which does not come here

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell: `dlx layers >&-`
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - as long as the program
    original, stdout = warnings.showwarning, sys.stdout
    warnings.showwarning = _show_warning
    plugins.announced(_print_plugin if "--json" not in sys.argv[1:] else _keep_stdout_for_json)
    try:
        with interruptible():
            return _report_interrupt(command() or 0)
    except UsageError as error:
        return _report_usage(error)
    except DlxError as error:
        return _report(error)
    except KeyboardInterrupt:
        return _report_interrupt(INTERRUPTED)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again where it is dlx's own mistake
        return _report_unexpected(error)
    finally:
        warnings.showwarning = original
        sys.stdout, json_documents.stdout = stdout, None
        plugins.announced(None)


def _print_plugin(name: str, mark: Mark) -> None:
    """Print which plugin's code runs."""
    from ..show import console

    where = f"plugins, {mark}" if mark.line else str(mark)
    console.say(f"runs the code of {name} ({where})")


def _keep_stdout_for_json(_: str, __: Mark) -> None:
    """Redirect the output of plugins to stderr, so that stdout has the JSON document alone."""
    json_documents.stdout = json_documents.stdout or sys.stdout
    sys.stdout = sys.stderr


def _report_unexpected(error: Exception | SystemExit) -> int:
    """Report an OSError or an error raised by the code of a plugin; raise any other again."""
    from .. import plugins

    if (problem := plugins.failure_of(error)) is not None:
        return _report(RunError(problem))
    if isinstance(error, OSError):
        return _report_os_error(error)
    if isinstance(error.__context__, BrokenPipeError) and isinstance(error, SystemExit):
        return 0  # `dlx layers | head`, noticed while it writes
    raise error


def _show_warning(
    message: Warning | str,
    category: type[Warning],  # noqa: ARG001 - Python calls it so
    filename: str,
    lineno: int,  # noqa: ARG001
    file: object = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Print a warning of a library in one line, without the path and the source line that Python would add."""
    from ..show.terminal_text import visible

    library = filename.rpartition("site-packages" + os.sep)[2].partition(os.sep)[0].removesuffix(".py")
    text = " ".join(str(message).split())
    sys.stderr.write(visible(f"{library if os.sep not in library else 'a library'} warns: {text}") + "\n")


def _report_interrupt(status: int) -> int:
    """Print `interrupted` for the status of Ctrl-C, which typer returns in silence, and return `status`."""
    if status == INTERRUPTED:
        sys.stderr.write("  interrupted\n")
    return status


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C inside the block; restore the previous handler after it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # whoever started the program does not want it to end by that
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _report_os_error(error: OSError) -> int:
    """Report a file that cannot be opened, or an output that cannot be written, and return the exit status."""
    if isinstance(error, BrokenPipeError):  # `dlx layers | head`, noticed at the end
        # Python flushes stdout once more at exit and would report the broken pipe there.
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


def _report_usage(error: typer.BadParameter) -> int:
    error.message += _setting_meant(error) or _several_files(error)
    if "--json" in sys.argv[1:]:
        return _report(DlxError(error.format_message()))
    from ..show.terminal_text import visible

    error.message = visible(error.message)
    error.show()
    return error.exit_code


def _several_files(error: typer.BadParameter) -> str:
    """Return a hint where a shell's `*.png` became more files than the command takes; empty for other mistakes."""
    takes = error.ctx.command.params if error.ctx is not None else []
    a_folder_too = any(one.metavar == "FILE" and "a folder" in (getattr(one, "help", "") or "") for one in takes)
    if "unexpected extra argument" not in error.message or not a_folder_too:
        return ""
    return "; FILE is one file, or a folder that has them all"


def _setting_meant(error: typer.BadParameter) -> str:
    """Return a hint where what was written as an option is a field of `train`, of a command that takes overrides."""
    name = getattr(error, "option_name", "").lstrip("-").replace("-", "_")  # click's NoSuchOption has it
    takes = error.ctx.command.params if error.ctx is not None else []
    if not name or not any((one.metavar or "").endswith(("KEY=VALUE", "KEY=VALUES")) for one in takes):
        return ""
    from ..spec.sections.train import OF_OPTIMIZER, Train

    if name in OF_OPTIMIZER:
        return f"; it is a field of the optimizer: `train.optimizer.KIND.{OF_OPTIMIZER[name][0]}=...`"
    return f"; it is a key of the spec: `train.{name}=...`" if name in Train.model_fields else ""
