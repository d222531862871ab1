"""Every error that bqsearch raises on purpose.

BqsearchError
├── UnknownNameError      a name that no registry entry, file or option has
├── ModelError            a model file that cannot be read or does not hold together
│   └── UnsupportedError  a sound model that uses something bqsearch does not support
├── DatasetError          data that cannot be read or does not match the model
├── TargetError           a board description that cannot be used
├── PlanError             a plan that does not match its model, or is malformed
├── StudyError            a study file or option with an unknown key or a bad value
├── OutputError           an output folder that cannot be written, is in use or is full
├── StorageError          a trial store that cannot be opened or belongs to another run
├── PoolError             workers or a cluster that cannot be reached, or die again and again
├── CodecError            a coded stream or table that does not decode
├── ToolError             a compiler or emulator that is missing, fails, or leaves what cannot be read
├── BoardError            a board, emulated or real, that does not answer as it should
└── MissingExtraError     an optional dependency that is not installed

A message says the rule, the value that broke it, and the cure.
"""

import difflib
from collections.abc import Iterable
from typing import Any


class BqsearchError(Exception):
    """Base of the family: the command line prints it as one line and exits with status 1."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Workers send it as it is, whatever it was made from."""
        return _again, (type(self), self.args), self.__dict__


class UnknownNameError(BqsearchError):
    """A name that is not among the known ones.

    Args:
        kind: What was looked up, singular: `"target"`.
        name: What was asked for.
        known: The good names.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        near = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(self.known) or '(none)'}.{hint}")


class ModelError(BqsearchError):
    """A model file that cannot be read or does not hold together."""


class UnsupportedError(ModelError):
    """A sound model that uses an operator, type or layout which bqsearch does not support."""


class DatasetError(BqsearchError):
    """Data that cannot be read or does not match the model."""


class TargetError(BqsearchError):
    """A board description that cannot be used."""


class PlanError(BqsearchError):
    """A plan that does not match its model, or is malformed."""


class StudyError(BqsearchError):
    """A study file or option with an unknown key or a bad value."""


class OutputError(BqsearchError):
    """An output folder that cannot be written, is in use or is full."""


class StorageError(BqsearchError):
    """A trial store that cannot be opened or belongs to another run."""


class PoolError(BqsearchError):
    """Workers or a cluster that cannot be reached, or die again and again."""


class CodecError(BqsearchError):
    """A coded stream or table that does not decode."""


class ToolError(BqsearchError):
    """A compiler or emulator that is missing, fails, or leaves what cannot be read."""


class BoardError(BqsearchError):
    """A board, emulated or real, that does not answer as it should."""


class MissingExtraError(BqsearchError):
    """An optional dependency that is not installed.

    Args:
        package: What could not be imported.
        extra: The extra of bqsearch that brings it.
        purpose: What needs it.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'bqsearch[{extra}]'")


def _again(kind: type[BqsearchError], args: tuple[Any, ...]) -> BqsearchError:
    return kind.__new__(kind, *args)
