"""Ctrl-C, as a terminal sends it: before the search, in it, and twice."""

import os
import signal
import subprocess
import sys
import time

import pytest

from bqsearch.interrupt import EXIT_STATUS, shielded, stop_on_interrupt

QUITTING = """
import time
from bqsearch.interrupt import quit_on_interrupt
quit_on_interrupt()
print("ready", flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""


def test_before_the_search_it_ends_the_program_even_where_exceptions_are_swallowed() -> None:
    process = subprocess.Popen([sys.executable, "-c", QUITTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == EXIT_STATUS
    assert b"interrupted" in errors


def test_in_the_search_it_sets_the_event_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_on_interrupt() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("pauses", [0.0, 0.2])
def test_a_second_one_ends_the_program(pauses: float) -> None:
    code = "import time\nfrom bqsearch.interrupt import stop_on_interrupt\n"
    code += "with stop_on_interrupt():\n    print('ready', flush=True)\n    time.sleep(60)\n    time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    time.sleep(0.3 + pauses)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == EXIT_STATUS


def test_what_is_started_shielded_never_gets_it() -> None:
    with shielded():
        process = subprocess.Popen([sys.executable, "-c", "import time\ntime.sleep(60)"])
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    process.send_signal(signal.SIGINT)  # at its first moment
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.kill()
    assert process.wait() == -signal.SIGKILL
