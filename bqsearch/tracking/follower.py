"""The tracker's process: `python -m bqsearch.tracking.follower FOLDER URI`.

A process of its own, so that neither MLflow's imports nor its database or server take time from the search. It follows
the events until the run ends or its parent is gone. While MLflow does not answer it tries again, from the first event
on.
"""

import fcntl
import os
import select
import sys
import traceback
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from bqsearch.errors import BqsearchError
from bqsearch.tracking import spool
from bqsearch.tracking.mlflow import LOG, Tracker, local_uri
from bqsearch.tracking.state import StateFile

_POLL = 0.25  # seconds between looks at the file; what comes between is told in one go
_PAUSE = 2.0  # seconds between attempts
_CHUNK = 200  # events between two looks whether the convergence is to be told


def follow(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The events of a file as they are written, until the last session's end or until standard input closes.

    The ends of earlier sessions, which a start follows, are left out.
    """
    position, events = 0, list[dict[str, Any]]()
    while True:
        orphaned = _parent_is_gone(0)
        if path.exists():
            events, position = spool.read(path, position)
        ended = bool(events) and events[-1]["event"] == "end"
        yield [event for event in events[:-1] if event["event"] != "end"] + events[-1:]
        if ended or orphaned:
            return
        events = []
        _parent_is_gone(_POLL)


def tell(folder: Path, uri: str, state: StateFile) -> None:
    """Track a run until it ends."""
    tracker = Tracker(folder, uri, state.tick)
    last, told, known = None, 0, 0
    for events in follow(folder / spool.FILE):
        known += len(events)
        for start in range(0, len(events), _CHUNK):
            for event in events[start : start + _CHUNK]:
                tracker.handle(event)
                told, last = told + 1, event["event"]
                state.count(told, known)
            tracker.flush()
    if last != "end":
        tracker.close("KILLED")


def persist(folder: Path, uri: str) -> bool:
    """Track a run, again and again while MLflow does not answer; whether everything was told before the run was over.

    What MLflow's client, its database and the network raise is of many kinds, and none of them may end the tracking.
    """
    state = StateFile(folder)
    for attempt in count():
        try:
            tell(folder, uri, state)
            return True
        except BqsearchError as error:
            state.fail("broken", str(error))
            return False
        except Exception as error:
            if attempt == 0:
                traceback.print_exc()
            state.fail("waiting", _reason(error, uri))
        if _parent_is_gone(_PAUSE):
            return False
    raise AssertionError("count() does not end")


def main(folder: Path, uri: str) -> int:
    """Track a run as a process; its exit status."""
    if uri == local_uri(folder):
        _hasten()
    with (folder / LOG).open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)  # an earlier tracker of the same run may be about to end
        return 0 if persist(folder, uri) else 1


def _hasten() -> None:
    """Let SQLite not wait for the disk: what a power cut takes from the run's own store is told again from the events.

    A trial takes a quarter of the time then.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))


def _reason(error: Exception, uri: str) -> str:
    """In one line; the network's own errors say too much about themselves."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and type(chain).__module__.startswith("requests"):
            return f"no answer from {spool.without_password(uri)}"
        chain = chain.__cause__ or chain.__context__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _parent_is_gone(seconds: float) -> bool:
    """Wait so long for the end of the search, which holds the other end of standard input."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
