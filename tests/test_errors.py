"""One family, drawn at the top of its file, with messages that name the cure."""

import inspect
import pickle
import re

import pytest

from bqsearch import errors
from bqsearch.errors import BqsearchError, MissingExtraError, ModelError, UnknownNameError, UnsupportedError

FAMILY = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}


@pytest.mark.parametrize("name", FAMILY)
def test_every_error_is_of_the_family(name: str) -> None:
    assert issubclass(FAMILY[name], BqsearchError)
    assert FAMILY[name].__doc__


def test_the_tree_at_the_top_is_the_tree() -> None:
    drawn = re.findall(r"^([│ ]*(?:├── |└── )?)(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert [name for _, name in drawn] == list(FAMILY)
    parents: dict[int, str] = {}
    for branch, name in drawn:
        depth = len(branch) // 4
        parents[depth] = name
        expected = "Exception" if depth == 0 else parents[depth - 1]
        assert FAMILY[name].__mro__[1].__name__ == expected


def test_an_unsupported_model_is_a_model_error() -> None:
    assert issubclass(UnsupportedError, ModelError)


def test_an_unknown_name_lists_the_good_ones_and_the_nearest() -> None:
    error = UnknownNameError("target", "hifve1", ["nano33", "hifive1"])
    assert str(error) == "unknown target 'hifve1'; known: hifive1, nano33. Did you mean 'hifive1'?"
    assert (error.kind, error.name, error.known) == ("target", "hifve1", ["hifive1", "nano33"])


def test_a_name_like_no_other_gets_no_hint() -> None:
    assert str(UnknownNameError("scheme", "zzz", ["kmeans"])) == "unknown scheme 'zzz'; known: kmeans."
    assert str(UnknownNameError("scheme", "zzz", [])) == "unknown scheme 'zzz'; known: (none)."


def test_a_missing_extra_says_what_to_install() -> None:
    message = str(MissingExtraError("ray", "ray", "a cluster of workers"))
    assert message == "a cluster of workers needs ray, which is not installed: pip install 'bqsearch[ray]'"


@pytest.mark.parametrize(
    "error",
    [UnknownNameError("target", "hifve1", ["hifive1"]), MissingExtraError("ray", "ray", "a pool"), ModelError("x")],
)
def test_workers_can_send_them(error: BqsearchError) -> None:
    same = pickle.loads(pickle.dumps(error))
    assert type(same) is type(error)
    assert str(same) == str(error)
    assert vars(same) == vars(error)
