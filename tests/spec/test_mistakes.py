"""Every mistake in a file or in --set: one line with its place, what was expected, what came and a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from steelman.errors import InputError
from steelman.spec import RunSpec

Tells = Callable[[object, tuple[str, ...]], None]


@pytest.fixture(autouse=True)
def in_a_folder_with_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deep").mkdir()
    Path("own.npz").touch()


MISTAKES: dict[str, tuple[str, ...]] = {
    "unknown table": ("[attack]\n\n[atack]\n", "line 3", "a table", "'atack'", "nearest is 'attack'"),
    "table unlike any": ("[zzz]", "line 1", "'zzz'", "there are data, model"),
    "unknown key": ("[attack]\neps = 1\n\nepss = 2", "line 4", "[attack]", "'epss'", "nearest is 'eps'"),
    "key of another table": ("[model]\neps = 1", "line 2", "[model]", "'eps'", "it is attack.eps"),
    "key outside of a table": ("\neps = 1", "line 2", "'eps' outside of one", "it is attack.eps"),
    "dotted key": ("attack.eps = 0.1\nattack.epss = 1", "line 2", "[attack]", "'epss'"),
    "quoted key": ('[attack]\n"e.p\\u0073" = 0.1', "line 2", "'e.ps'"),
    "no table": ("attack = 'pgd'", "line 1", "[attack] as a table", "'pgd'", "say attack.names = "),
    "several tables": ("[[attack]]\neps = 1", "line 1", "[attack] as a table", "[{'eps': 1}]"),
    "table for a value": ("[attack.eps]\na = 1", "line 1", "attack.eps", "a number >= 0", "{'a': 1}"),
    "value for a table": ("[attack]\nsettings = 3", "line 2", "attack.settings as a table", "3"),
    "word for a number": ("[attack]\neps = 'big'", "line 2", "attack.eps", "8/255", "'big'"),
    "bool for a number": ("[attack]\neps = true", "attack.eps", "a number >= 0", "true"),
    "bool for a whole number": ("[attack]\nsteps = false", "attack.steps", "a whole number >= 1", "false"),
    "fraction for a whole number": ("[data]\nimages = 10.0", "data.images", "a whole number >= 0", "10.0"),
    "number for a bool": ("[attack]\ngrid = 1", "attack.grid", "true or false", "got 1"),
    "number for a word": ("[data]\nname = 7", "data.name", "a name", "got 7"),
    "empty word": ("[model]\ndevice = ''", "model.device", "a word", "got ''"),
    "empty path": ("[run]\nout = ''", "run.out", "a path", "got ''"),
    "date": ("[run]\nseed = 1979-05-27", "run.seed", "a whole number", "1979"),
    "list for a value": ("[attack]\nsteps = [1]", "attack.steps", "a whole number >= 1", "[1]"),
    "negative eps": ("[attack]\neps = [\n0.1,\n-1]", "line 2", "attack.eps", "a number >= 0", "got -1"),
    "eps nan": ("[attack]\neps = nan", "attack.eps", "a number >= 0", "nan"),
    "eps too large": ("[attack]\neps = 1" + "0" * 400, "attack.eps", "a number >= 0", "1000"),
    "eps divided by nothing": ("[attack]\neps = '8/0'", "attack.eps", "8/255", "'8/0'"),
    "no eps": ("[attack]\neps = []", "attack.eps", "one or more", "[]", "leave it out"),
    "eps twice": ("[attack]\neps = [0.1, '1/10']", "line 2", "attack.eps", "0.1 twice", "leave one out"),
    "no attack": ("[attack]\nnames = []", "attack.names", "one or more", "[]"),
    "attack twice": ("[attack]\nnames = ['pgd', 'fgsm', 'pgd']", "line 2", "attack.names", "'pgd' twice"),
    "no size": ("[attack]\nsize = 0", "attack.size", "a number > 0", "got 0"),
    "share out of range": ("[defence]\nfpr = 1", "defence.fpr", "above 0 and below 1", "got 1"),
    "seed too large": ("[run]\nseed = 9223372036854775808", "run.seed", "at most 64 bits"),
    "unknown norm": ("[attack]\nnorm = 'linf'", "attack.norm", "Linf, L2, L1, L0", "'linf'"),
    "unknown attack": ("[attack]\nnames = ['fgsm', 'pgdd']", "line 2", "attack", "'pgdd'", "mean pgd"),
    "unknown data": ("[data]\nname = 'mnst'", "line 2", "data set", "'mnst'", "mean mnist"),
    "missing data": ("[data]\nname = 'no/where'", "line 2", "data set", "'no/where'"),
    "unknown model": ("[model]\nname = 'lennet'", "model", "'lennet'", "mean lenet"),
    "unknown defence": ("[defence]\nname = 'jpg'", "defence", "'jpg'", "mean jpeg"),
    "defence with settings": ("[defence]\nname = 'jpeg:quality=3'", "line 2", "defence", "'jpeg:quality=3'"),
    "unknown detector": ("[defence]\ndetector = 'combined'", "detector", "'combined'"),
    "untrained surrogate": ("[attack]\nsurrogate = 'cnn'", "surrogate", "'cnn'"),
    "code": ("[model]\nname = 'a.b:c'", "line 2", "no code", "'a.b:c'", "--trust-code"),
    "code in a file": (
        "[attack]\nnames = ['pgd', 'my.py:attack']",
        "line 2",
        "no code",
        "'my.py:attack'",
        "--trust-code",
    ),
    "setting of no attack": (
        "attack.names = 'mi-fgsm'\n[attack.settings]\nmomentun = 1",
        *("line 3", "setting of mi-fgsm", "'momentun'", "mean momentum"),
    ),
    "setting where there is none": ("[attack]\nnames = 'fgsm'\nsettings.a = 1", "line 3", "'a'", "it has none"),
    "setting with a key": ("[attack.settings]\nsteps = 1", "line 2", "attack.steps", "attack.settings.steps"),
    "steps of none": ("[attack]\nnames = 'fgsm'\nsteps = 3", "line 3", "attack.steps", "fgsm", "leave it out"),
    "table for a setting": ("[attack.settings]\nrandom = { a = 1 }", "attack.settings.random", "a number, true"),
    "setting of another defence": (
        "[defence]\nname = 'jpeg'\n[defence.settings]\nqualty = 5",
        *("line 4", "setting of jpeg", "'qualty'", "mean quality"),
    ),
    "settings of no defence": ("[defence.settings]\nquality = 5", "line 2", "no settings", "none", "jpeg"),
    "settings of weights": ("[defence]\nname = 'unet'\nsettings = {quality = 5}", "line 3", "no settings", "unet"),
    "key twice": ("[attack]\neps = 1\neps = 2\n", "line 3, column 8", "every key once"),
    "table twice": ("[attack]\n[data]\n[attack]", "line 3, column 8", "TOML", "('attack',) twice"),
    "no value": ("[attack]\neps =\n", "line 2, column 6", "a value", "got nothing"),
    "word without quotes": ("[attack]\n\nnorm = Linf", "line 3, column 8", "a value", "'Linf'", "in quotes"),
    "open string": ("[data]\nname = 'mnist", "line 2, column 14", '"\'"'),
    "open list": ("[attack]\neps = [1,\n2\n", "line 4, column 1", "TOML", "Unclosed array"),
    "no TOML": ('{"attack": {"eps": 0.1}}', "line 1, column 1", "TOML", "Invalid statement"),
    "nested too deeply": ("a = " + "[" * 100_000, "TOML", "nested too deeply"),
    "digits without end": ("[run]\nseed = " + "1" * 5000, "run.toml: ", "TOML"),
}
"""A file, and the parts of what is said of it."""


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_file_is_told_with_its_line(case: str, tells: Tells) -> None:
    text, *parts = MISTAKES[case]
    Path("run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        RunSpec.from_toml("run.toml")
    tells(caught.value, ("run.toml", *parts))


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("attack.epss=1", ("--set attack.epss=1: ", "[attack]", "'epss'", "nearest is 'eps'")),
        ("atack.eps=1", ("--set atack.eps=1: ", "'atack'", "nearest is 'attack'")),
        ("attack.eps=big", ("--set attack.eps=big: ", "attack.eps", "a number >= 0", "'big'")),
        ("attack.eps=", ("attack.eps", "a number >= 0", "''")),
        ("attack.eps.x=1", ("attack.eps", "a number >= 0", "{'x': 1}")),
        ("attack.steps=1\nattack.eps=1", ("attack.steps", "a whole number >= 1")),
        ("restarts2=1", ("--set restarts2=1: ", "setting of standard", "'restarts2'")),
        ("eps=0.1", ("setting of standard", "'eps'", "say attack.eps")),
        ("eps", ("--set", "NAME=VALUE", "'eps'", "say eps=VALUE")),
        ("=1", ("--set", "NAME=VALUE", "'=1'")),
        (".=1", ("a table", "''")),
        ("attack.=1", ("[attack]", "''")),
    ],
)
def test_a_mistake_in_set_is_told_with_the_word(word: str, parts: tuple[str, ...], tells: Tells) -> None:
    with pytest.raises(InputError) as caught:
        RunSpec.read(words=[word])
    tells(str(caught.value).replace("\n", " "), parts)


def test_set_says_no_option_that_the_command_lacks(tells: Tells) -> None:
    assert RunSpec.read(words=["attack.eps=1"], usual={"attack.eps": None}).attacks.eps == (1.0,)
    with pytest.raises(InputError) as caught:
        RunSpec.read(words=["run.curve=false"], usual={"attack.eps": None})
    tells(caught.value, ("--set run.curve=false", "a key that this command has", "leave it out"))


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("absent.toml", None, ("absent.toml", "found none", "give a TOML file")),
        ("deep", None, ("the folder deep", "name the TOML file in it")),
        ("own.npz/a.toml", None, ("own.npz/a.toml", "Not a dir")),
        ("latin.toml", "[run]\n\n# Größe".encode("latin-1"), ("latin.toml, line 3", "UTF-8", "0xf6", "save it")),
        ("utf16.toml", "[run]\n".encode("utf-16"), ("utf16.toml, line 1", "UTF-8", "0xff")),
    ],
)
def test_what_is_no_file_is_told(name: str, content: bytes | None, parts: tuple[str, ...], tells: Tells) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        RunSpec.from_toml(name)
    tells(caught.value, parts)


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    Path("run.toml").write_bytes(b"\xef\xbb\xbf[attack]\r\neps = 0.1\r\n")
    assert RunSpec.from_toml("run.toml").attacks.eps == (0.1,)
    Path("run.toml").write_bytes(b"[attack]\r\neps = 0.1\r\n\r\nepss = 1")
    with pytest.raises(InputError, match=r"line 4: expected a key of \[attack\]"):
        RunSpec.from_toml("run.toml")
