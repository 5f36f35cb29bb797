"""The errors a user can cause or meet. Each message says what is wrong, where, and what to do about it.

The command line prints the message without a traceback. Exit code 2 means that the input was wrong, 1 that the run
failed.
"""


class PanguError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 2


class ConfigError(PanguError):
    """A setting is unknown, has a wrong type, or contradicts another one."""


class DataError(PanguError):
    """A text or token file is missing, damaged, empty or of the wrong kind."""


class TokenizerError(PanguError):
    """A tokenizer file is missing or damaged, or is not the one that the data or the model was made with."""


class CheckpointError(PanguError):
    """A checkpoint is missing, damaged, or belongs to another network."""


class DamagedError(CheckpointError):
    """A checkpoint is not what was written: another one may be whole."""

    exit_code = 1


class DeviceError(PanguError):
    """MindSpore cannot use the chosen device, or lacks a kernel for what was asked of it."""


class TrainingError(PanguError):
    """A run cannot go on: the loss is not finite, or a worker has died."""

    exit_code = 1


class LockError(PanguError):
    """Another process is using a place that only one can use at a time."""


class ClusterError(PanguError):
    """A rank table, an inventory or a host is not what a job needs."""


class LayoutError(PanguError):
    """The parts of a tensor that ranks hold are not those of the layout, or do not agree."""

    exit_code = 1


class CorpusError(PanguError):
    """The making of a corpus cannot go on: a process dies again and again, or the sums are not those of the input."""

    exit_code = 1


class CompileError(PanguError):
    """MindSpore's Ascend compiler cannot be started here, or refuses a rank's program."""

    exit_code = 1


class ProgramError(PanguError):
    """An exported program cannot be read, or goes where this code cannot follow it."""

    exit_code = 1


class EmulatorError(ProgramError):
    """A program cannot be executed: an unknown primitive, a deadlock, a collective that does not match."""
