"""What all programs of this project do alike: words in any order, and a sentence whatever goes wrong.

Errors of `errors.py` say what to do about them. Those of the operating system, of encodings and of memory can come from
any line, so they are turned into words here, at the outermost place, and nowhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pangu_alpha.errors import PanguError

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_ADVICE = {
    errno.EACCES: "give this user the right to it, or name another place",
    errno.EPERM: "give this user the right to it, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "remove the link that leads to itself",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "a part of the path is a file: name another place",
    errno.EEXIST: "remove what is there, or choose another name",
    errno.ENOENT: "correct the path",
    errno.EINVAL: "name a file",
    errno.EFBIG: "name the right file",
    errno.ENXIO: "name a file",
}
"""The way out, where the user has named something that will not do: exit code 2. All others are failures: 1."""
_FAILURES = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.EMFILE: "raise the number of open files with `ulimit -n`",
    errno.ENOMEM: "end other programs, or ask for less",
    errno.EIO: "the disk or its server is damaged: look at `dmesg`",
}
EXTRAS = {
    **dict.fromkeys(("ahocorasick", "fasttext", "fastwarc", "opencc", "pyarrow", "resiliparse"), "corpus"),
    "jieba": "published-tokenizer",
    "lm_eval": "harness",
    "matplotlib": "pictures",
    "ray": "corpus-cluster",
    "tensorboard": "tensorboard",
}
"""Modules that only a part of the project needs, and the extra of `pyproject.toml` that brings each."""
_SETTING = re.compile(r"[a-z_]\w*(\.\w+)*=")
_SETTINGS = ("overrides", "recipe")
"""Names of what holds settings: a list of them, or a list of a recipe and its settings."""
_MAX_NAME = 200
"""Characters of a file's name that are shown."""


class Parser(argparse.ArgumentParser):
    """Takes the words that belong to no option wherever they stand: `pangu train tiny_cpu -v train.steps=2`."""

    passes_on = False
    """Whether all words, options too, are another program's: they become the list `words`."""
    _is_mixing = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See `argparse`, which leaves a parser with verbs out of `parse_known_intermixed_args`, and its children."""
        if self.passes_on:
            if not args or args[0] in ("-h", "--help"):
                self.print_help()
                self.exit()
            return argparse.Namespace(words=list(args)), []
        if self._is_mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._is_mixing = True  # the method below comes back here
        try:
            found, others = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_mixing = False
        self._take_settings_from_paths(found, sys.argv[1:] if args is None else args)
        return found, others

    def _take_settings_from_paths(self, found: argparse.Namespace, words: Sequence[str]) -> None:
        """An option of many paths swallows the settings that follow it: give them to where the parser has settings."""
        as_written = {Path(word): word for word in words}
        settings = next((list_ for name in _SETTINGS if isinstance(list_ := getattr(found, name, None), list)), None)
        for action in self._actions:
            if settings is None or action.type is not Path or action.nargs not in ("+", "*"):
                continue
            paths: Sequence[Path] = getattr(found, action.dest) or []
            swallowed = [path for path in paths if _SETTING.match(str(path)) and not path.exists()]
            if 0 < len(swallowed) < len(paths):
                setattr(found, action.dest, [path for path in paths if path not in swallowed])
                settings += [as_written[path] for path in swallowed]


def run_program(name: str, work: Callable[[], int]) -> int:
    """Do `work` and return its exit code or, when it ends in an error, that of the error, after a sentence on stderr.

    Args:
        name: of the program; it begins the sentence.
        work: raises SystemExit too, which passes through.
    """
    _repair_streams()
    try:
        try:
            code = work()
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return code
    except PanguError as error:
        return _complain(name, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain(name, "stopped by Ctrl-C", 130)
    except BrokenPipeError:
        # The reader of the output (`| head`) has seen enough. Of any other pipe it is a failure.
        return 0 if _reader_is_gone() else _complain(name, "a process that this one talks to has ended", 1)
    except OSError as error:
        what, advice, exit_code = explain(error)
        return _complain(name, f"{what}; {advice}" if advice else what, exit_code)
    except UnicodeError as error:
        return _complain(name, f"{error}: set LC_ALL=C.UTF-8, or use names and texts in UTF-8", 2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        extra = EXTRAS[package]
        part = extra.partition("-")[0]
        pinned = f"requirements-{part}.txt" if part in ("corpus", "harness") else "requirements.txt"
        way_out = f"the project's extra {extra} brings it, and so does `pip install -r {pinned}`"
        return _complain(name, f"this needs {package}, which is not installed: {way_out}", 2)
    except MemoryError as error:
        return _complain(name, f"not enough memory{f' ({error})' if str(error) else ''}: ask for less", 1)
    finally:
        for stream, number in ((sys.stdout, _STDOUT), (sys.stderr, _STDERR)):
            _silence_if_lost(stream, number)


def _repair_streams() -> None:
    """Make stdin, stdout and stderr take whatever they are used for."""
    for number, name, mode in ((_STDIN, "stdin", "r"), (_STDOUT, "stdout", "w"), (_STDERR, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:  # closed (`>&-`): the next file that is opened would get its number, and what is printed
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    # A terminal in GBK has no ✓, and a name may hold bytes that are no text.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _complain(name: str, sentence: str, exit_code: int) -> int:
    with contextlib.suppress(OSError):  # nobody can be told; the exit code is left
        print(f"{name}: {sentence}", file=sys.stderr, flush=True)
    return exit_code


def explain(error: OSError) -> tuple[str, str, int]:
    """What went wrong and where, the way out ("" when there is none to tell), and the exit code."""
    if isinstance(error, FileNotFoundError) and _directory_is_gone():
        return "the working directory has been removed", "`cd` to one that is there", 2
    code, names = error.errno or 0, [error.filename, error.filename2]
    if error.filename is None and _is_lost(sys.stdout):
        names = ["stdout"]
    words = [*(_shown(name) for name in names if name is not None), error.strerror or str(error)]
    return ": ".join(words), _ADVICE.get(code) or _FAILURES.get(code, ""), 2 if code in _ADVICE else 1


def _shown(name: str | bytes | int) -> str:
    text = os.fsdecode(name) if isinstance(name, bytes) else str(name)
    return text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}… ({len(text):,} characters)"


def _directory_is_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _reader_is_gone() -> bool:
    poll = select.poll()
    poll.register(_STDOUT, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _is_lost(stream: Any) -> bool:
    """Whether what was printed does not leave this process: it stays in the buffer, and fails again."""
    try:
        stream.flush()
    except (OSError, ValueError):
        return True
    return False


def _silence_if_lost(stream: Any, number: int) -> None:
    """Keep the interpreter from failing at its end, in words of its own, over what could not be printed."""
    if _is_lost(stream):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
