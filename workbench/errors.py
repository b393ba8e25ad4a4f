"""The errors a user can cause, each one sentence that says what to do.

The command line prints a ``WorkbenchError`` without a traceback and exits with its code;
anything else is a bug of ours and keeps its traceback. Foreign libraries' own errors are
caught where they are called and re-raised as one of these, with ``raise ... from``.
"""

from __future__ import annotations


class WorkbenchError(Exception):
    """A mistake or missing thing outside the workbench; the message says how to go on."""

    exit_code = 2


class ConfigError(WorkbenchError):
    """A YAML or model config with one or more faults, all of them reported at once.

    Args:
        source: the file the faults stand in.
        faults: one line per fault, each naming the key.
    """

    def __init__(self, source: str, faults: list[str]) -> None:
        self.source = source
        self.faults = list(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        lines = "".join(f"\n  - {fault}" for fault in self.faults)
        super().__init__(f"{source}: {count}; correct and run again:{lines}")


class CheckpointError(WorkbenchError):
    """A model folder or Hub id that cannot be read as a checkpoint."""


class ArtifactError(WorkbenchError):
    """An artifact that is missing, incomplete or does not match its manifest."""


class CalibrationError(WorkbenchError):
    """A source of calibration texts that is not there, or holds none that can be read."""


class UnsupportedWorkloadError(WorkbenchError):
    """A batch, a beam search or a length that an engine or an artifact cannot do; the message says why."""


class PrerequisiteError(WorkbenchError):
    """An engine or service that is not there; the message holds the command that fixes it."""


class TransferError(WorkbenchError):
    """A server that sends something else than it promised; what came is not to be used."""


class DisconnectedError(WorkbenchError):
    """A connection that broke off, or a server too busy to go on; what came is kept for the next run."""


class StorageError(WorkbenchError):
    """A disk that is full, read-only or otherwise refuses to hold what was made."""


class GateError(WorkbenchError):
    """An accuracy gate that refuted an artifact, where the user asked for that to be an error (``build --strict``)."""

    exit_code = 3


class EvaluationError(WorkbenchError):
    """A fault of the evaluation itself (a gold that fails, a server that is gone), never the model's."""


class VerificationError(WorkbenchError):
    """A package that is not what it says it is: each line says which check failed and what was found."""

    exit_code = 1
