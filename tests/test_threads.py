"""Turns at Python's lock."""

import sys

from bqsearch.threads import quick_turns


def test_turns_are_quick_as_long_as_they_are_held() -> None:
    before = sys.getswitchinterval()
    with quick_turns():
        assert sys.getswitchinterval() < before / 10
    assert sys.getswitchinterval() == before
