"""Whether a run can be resumed or used again: the checks of its folder, and the errors with the way out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..data import Sets
from ..errors import DlxError
from ..runs.folder import RunFolder
from ..runs.records import RECORDS
from ..spec import Experiment


def finished(run: RunFolder, experiment: Experiment) -> DlxError:
    """Return the error for a finished run, which cannot be resumed."""
    end, by_steps = run.end() or {}, experiment.train is not None and experiment.train.steps is not None
    return DlxError(
        f"{run.key} has finished, at step {end.get('step', 0):,}",
        hint=f"`dlx train --resume {run.argument} train.{'steps' if by_steps else 'epochs'}=N` trains it for longer, "
        "N in all.",
    )


def unchanged(run: RunFolder, changes: Sequence[str]) -> DlxError:
    """Return the error for changes of the spec of a resumed run, which is resumed as it was."""
    if run.status() == "finished":
        message = f"{run.key} has finished, and goes on with another length alone: train.epochs=N or train.steps=N"
    else:
        message = f"{run.key} goes on as it was, to the same bits, and takes no changes: {' '.join(changes)}"
    again = f"`dlx train {run.dir} {' '.join(changes)}` trains its spec anew with them."
    return DlxError(message, hint=again)


def check_spec(run: RunFolder, experiment: Experiment) -> None:
    """Raise DlxError where the lock file or the records of a run are those of another spec."""
    path = run.dir / "spec.yaml"
    own = {hashlib.sha256(text).hexdigest() for text in (path.read_bytes(), experiment.resolved().encode())}
    for name, said in (("lock.json", run.lock()), (RECORDS, next(run.records(), {}))):
        if said.get("spec_hash", next(iter(own))) not in own:
            hint = "Bring the run's own file back, or train the spec that is meant: `dlx train SPEC`."
            raise DlxError(f"{run.dir / name} is of the training of another spec than {path}", hint=hint)


def check_source(run: RunFolder, recorded: Mapping[str, Any], digest: str) -> None:
    """Raise DlxError where a run took its initial weights, as its lock has them, from a file with another digest."""
    was = str(recorded.get("digest", digest))
    if was != digest:
        differs = f"its digest was {was[:12]}, and is {digest[:12]}"
        message = f"the source of the weights of {run.key} has changed: {differs}"
        raise DlxError(message, hint="Bring the old file back, or train anew.")


def check_network(run: RunFolder, name: str, recorded: Mapping[str, Any], digest: str) -> None:
    """Raise DlxError where a network of a run had its weights from a checkpoint with another digest."""
    was = str(recorded.get("digest", digest))
    if was != digest:
        differs = f"the digest of its weights was {was[:12]}, and is {digest[:12]}"
        message = f"the network `{name}` that {run.key} was trained with has changed: {differs}"
        raise DlxError(message, hint="Bring the old checkpoint back, or train anew.")


def check_digest(run: RunFolder, sets: Sets, hint: str, stage: str = "") -> None:
    """Raise DlxError where a run, or a stage of it, was trained on other data than `sets`."""
    lock = run.lock().get("stages", {}).get(stage, {}) if stage else run.lock()
    was = lock.get("data", {}).get("digest", sets.digest)
    if was != sets.digest:
        message = f"the data of {run.key} has changed: its digest was {was[:12]}, and is {sets.digest[:12]}"
        raise DlxError(message, hint=hint)
