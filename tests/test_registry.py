"""The catalogues' machinery: shipped names, entry points of installed packages, and lines of code."""

import sys
from pathlib import Path

import pytest

from steelman.errors import InputError
from steelman.registry import Registry, load

PLUGIN = """
broken = None
def fine():
    return "fine"
number = 3
"""


def installed(folder: Path, name: str, points: str, code: str = PLUGIN) -> None:
    """Lays a package of one module down as an installer does."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[steelman.things]\n{points}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def things(**more):
    return Registry("thing", {"one": len, "two": str}, group="steelman.things", **more)


def test_what_ships_comes_first_and_plug_ins_after(site):
    installed(site, "plug", "own = plug:fine\nother-own = plug:fine")
    registry = things()
    assert list(registry) == ["one", "two", "own", "other-own"]
    assert len(registry) == 4
    assert "own" in registry
    assert "plug" not in sys.modules  # what is not asked for is not imported
    assert registry.get("one") is registry["one"] is len
    assert registry.get("own")() == "fine"
    assert registry["own"] is sys.modules["plug"].fine
    with pytest.raises(KeyError):
        registry["nobody"]


def test_an_unknown_name_comes_with_the_nearest(site):
    installed(site, "plug", "owned = plug:fine")
    with pytest.raises(InputError, match="expected the name of a thing, got 'owne': did you mean owned or one"):
        things().get("owne")
    with pytest.raises(InputError, match=r"there are .*package\.module:name, path/to/file\.py:name"):
        things().get("xyz", code=True)


def test_a_shipped_name_is_nobody_elses(site):
    installed(site, "plug", "one = plug:fine\nown = plug:fine")
    registry = things()
    with pytest.raises(InputError, match=r"one thing called one, got those of steelman itself and plug 1.0: uninstall"):
        registry.get("one")
    assert registry.get("two") is str
    assert registry.get("own")() == "fine"
    assert list(registry) == ["one", "two", "own"]


def test_two_plug_ins_of_one_name_are_refused(site):
    installed(site, "plug", "own = plug:fine")
    installed(site, "another", "own = another:fine")
    with pytest.raises(InputError, match=r"one thing called own, got those of .*(plug|another) 1.0 and .* 1.0: uninst"):
        things().get("own")
    assert things().get("one") is len


@pytest.mark.parametrize(
    ("code", "point", "told"),
    [
        ("import nowhere_at_all", "plug:fine", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def fine(:", "plug:fine", r"SyntaxError: invalid syntax \(plug.py, line 1\)"),
        ("raise SystemExit(3)", "plug:fine", "SystemExit: 3"),
        (PLUGIN, "plug:fin", "AttributeError: module 'plug' has no attribute 'fin'"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_is_refused_when_it_is_asked_for(site, code, point, told):
    installed(site, "plug", f"own = {point}", code)
    registry = things()
    assert list(registry) == ["one", "two", "own"]
    assert registry.get("one") is len
    with pytest.raises(InputError, match=f"expected to import the thing own of plug 1.0, but {told}") as caught:
        registry.get("own")
    assert "\n" not in str(caught.value)


def test_what_lacks_the_protocol_is_refused(site):
    installed(site, "plug", "own = plug:number")
    with pytest.raises(InputError, match=r"function or a class as the thing own of plug 1.0, got int"):
        things().get("own")

    def text(what, found):
        if isinstance(found, str):
            return found.upper()
        raise InputError(f"expected words as {what}, got {type(found).__name__}")

    with pytest.raises(InputError, match="expected words as the thing plug:number, got int"):
        things(check=text).get("plug:number", code=True)
    assert things(check=text).get("plug:__name__", code=True) == "PLUG"


def test_code_is_named_only_where_it_is_allowed(site):
    (site / "mine.py").write_text(PLUGIN)
    for name in ("mine:fine", "mine.py:fine", f"{site}/mine.py:fine"):
        assert things().get(name, code=True)() == "fine"
        with pytest.raises(InputError, match=r"would run code: say --trust-code .*code=True\) in Python; a service"):
            things().get(name)


def test_a_file_finds_its_neighbours_and_the_current_folder(site):
    folder = site / "elsewhere"
    folder.mkdir()
    (folder / "neighbour.py").write_text("WHO = 'neighbour'")
    (site / "current.py").write_text("WHO = 'current'")
    (folder / "mine.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport neighbour, current\n"
        "WHO = (neighbour.WHO, current.WHO)\n@dataclass\nclass Own:\n    a: int = 1\n    class Inner:\n        x = 5\n"
    )
    before = list(sys.path)
    assert load("elsewhere/mine.py:WHO") == ("neighbour", "current")
    assert load("elsewhere/mine.py:Own.Inner").x == 5
    assert sys.path == before
    assert load("elsewhere/mine.py:Own") is load(f"{folder}/mine.py:Own")
    assert sys.modules[load("elsewhere/mine.py:Own").__module__].Own().a == 1


def test_a_file_that_changed_is_another_module(site):
    (site / "mine.py").write_text("def own(): return 1")
    first = load("mine.py:own")
    (site / "mine.py").write_text("def own(): return 2")
    second = load("mine.py:own")
    assert (first(), second()) == (1, 2)
    assert first.__module__ != second.__module__


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("mine.py:fin", "expected the name of a thing in mine.py, got 'fin': did you mean fine"),
        ("nobody.py:fine", "expected a Python file at .*nobody.py, found none"),
        ("bad.py:fine", r"expected to import bad.py for 'bad.py:fine', but SyntaxError: .*\(bad.py, line 1\)"),
        ("no.such.module:fine", "expected to import no.such.module .*No module named 'no': is its folder on PYTHONP"),
        ("mine:", "expected package.module:name or path/to/file.py:name, got 'mine:'"),
        (":fine", "expected package.module:name"),
    ],
)
def test_bad_code_is_one_clear_line(site, place, told):
    (site / "mine.py").write_text(PLUGIN)
    (site / "bad.py").write_text("def fine(:\n    pass\n")
    before, modules = list(sys.path), {name for name in sys.modules if name.startswith("bad")}
    with pytest.raises(InputError, match=told) as caught:
        load(place)
    assert "\n" not in str(caught.value)
    assert sys.path == before
    assert {name for name in sys.modules if name.startswith("bad")} == modules
