"""How threads share a processor, and Python's lock."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

_TURN = 5e-5  # seconds


@contextmanager
def quick_turns() -> Iterator[None]:
    """Have a thread that computes give Python's lock to one that waits for it a hundred times sooner than it would.

    So inference on another thread, which does without the lock, begins with its next inputs when it is done with some.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def one_thread() -> AbstractContextManager[Any]:
    """One thread for linear algebra, where products are so small that several would wait for each other.

    One alone rounds alike on all machines of a kind besides, whatever their number of cores.
    """
    return _libraries().limit(limits=1, user_api="blas")


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
