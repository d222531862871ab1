"""What Ctrl-C does: before the search it ends the program at once; in the search it asks it to stop."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType

EXIT_STATUS = 130
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar may have hidden it


def quit_on_interrupt() -> None:
    """Let Ctrl-C end the program at once.

    An exception would be raised wherever the program happens to be, and some libraries swallow it while they are
    imported.
    """
    signal.signal(signal.SIGINT, _quit)


@contextmanager
def stop_on_interrupt() -> Iterator[Event]:
    """An event that Ctrl-C sets, so that what is under way is brought to its end; a second Ctrl-C ends the program."""
    stop = Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, _quit)

    if current_thread() is not main_thread():  # only the main thread gets signals
        yield stop
        return
    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def shielded() -> Iterator[None]:
    """Processes and threads that are started here never get Ctrl-C, from their first moment on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _quit(number: int, frame: FrameType | None) -> None:
    del number, frame
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
    os.write(2, f"{cursor}\ninterrupted; what is stored is kept, and --resume goes on with it\n".encode())
    os._exit(EXIT_STATUS)
