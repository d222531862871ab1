"""Names lead to values, for built-in members and for strangers; a bad name or a broken plug-in is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bqsearch import registry
from bqsearch.errors import BqsearchError, UnknownNameError
from bqsearch.quantizers.kmeans import QUANTIZER

PLUG_INS = """
[bqsearch.schemes]
stranger = stranger_plug_in:VALUE
absent = stranger_plug_in_that_is_absent:VALUE
nameless = stranger_plug_in:MISSING
"""


@pytest.fixture
def plug_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution with entry points, sound and broken."""
    facts = tmp_path / "stranger-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(PLUG_INS)
    (tmp_path / "stranger_plug_in.py").write_text("VALUE = 'strange'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield
    monkeypatch.undo()
    forget()


def forget() -> None:
    registry._entries.cache_clear()
    registry.load.cache_clear()


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_built_in_member_loads(kind: str) -> None:
    assert registry.names(kind) == sorted(registry.names(kind)) != []
    for name in registry.names(kind):
        assert registry.load(kind, name) is not None


def test_a_name_leads_to_its_value() -> None:
    assert registry.load("scheme", "kmeans") is QUANTIZER


def test_an_unknown_name_lists_the_good_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown scheme 'kmean'; known: binary, .*Did you mean 'kmeans'") as e:
        registry.load("scheme", "kmean")
    assert e.value.known == registry.names("scheme")


@pytest.mark.usefixtures("plug_ins")
def test_a_strangers_plug_in_is_found() -> None:
    assert {"stranger", "kmeans"} <= set(registry.names("scheme"))
    assert registry.load("scheme", "stranger") == "strange"


@pytest.mark.usefixtures("plug_ins")
@pytest.mark.parametrize(
    ("name", "cause"), [("absent", "No module named 'stranger_plug_in_that_is_absent'"), ("nameless", "MISSING")]
)
def test_a_broken_plug_in_is_named(name: str, cause: str) -> None:
    with pytest.raises(BqsearchError, match=rf"the scheme '{name}' \(stranger_plug_in.*\) cannot be loaded: .*{cause}"):
        registry.load("scheme", name)
