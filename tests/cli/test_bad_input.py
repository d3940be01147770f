"""Everything wrong that a user can hand over: one line that says what was expected, exit code 2, nothing written."""

from __future__ import annotations

import json
import pickle
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from steelman import attacks, weights
from steelman.cli import main
from steelman.data import Images
from steelman.evaluation.evaluate import evaluate
from steelman.evaluation.options import EvaluationOptions
from steelman.models import CNN
from steelman.norms import Linf

FACTORIES = """
from torch import nn, zeros, full, float64

class Answers(nn.Module):
    def __init__(self, out):
        super().__init__()
        self.out, self.weight = out, nn.Parameter(zeros(1))
    def forward(self, x):
        return self.out(x)

def raises(): raise RuntimeError("two\\nlines")
def leaves(): raise SystemExit("enough")
def none(): return None
def a_class(): return nn.Linear
def two(): return Answers(lambda x: zeros(len(x), 2))
def flat(): return Answers(lambda x: zeros(len(x)))
def picture(): return Answers(lambda x: x)
def a_pair(): return Answers(lambda x: (zeros(len(x), 3), None))
def one_answer(): return Answers(lambda x: zeros(1, 3).expand(2, 3))
def nan(): return Answers(lambda x: full((len(x), 3), float("nan")))
def whole(): return Answers(lambda x: zeros(len(x), 3).long())
def fails(): return nn.Sequential(nn.Flatten(), nn.Linear(5, 3))
def colour(): return nn.Sequential(nn.Conv2d(3, 3, 28), nn.Flatten())
number = 3
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files and folders, most of them wrong, by the names that the cases use."""
    folder = tmp_path_factory.mktemp("given")
    labels, images = np.arange(9) % 3, np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    unit = images.astype(np.float32) / 255
    arrays = {
        "own": {"images": images, "labels": labels},
        "nothing": {},
        "unnamed": {"x": images, "y": labels},
        "unlabelled": {"images": images},
        "empty_npz": {"images": images[:0], "labels": labels[:0]},
        "flat": {"images": images.reshape(9, -1), "labels": labels},
        "five": {"images": images[..., None].repeat(5, -1), "labels": labels},
        "fewer": {"images": images, "labels": labels[:5]},
        "words": {"images": images, "labels": labels.astype(str)},
        "shares": {"images": images, "labels": labels / 2},
        "integers": {"images": images.astype(np.int64), "labels": labels},
        "nan": {"images": np.where(unit > 0.5, np.nan, unit), "labels": labels},
        "bright": {"images": unit * 255, "labels": labels},
        "centred": {"images": unit - 0.5, "labels": labels},
        "negative": {"images": images, "labels": labels - 1},
        "beyond": {"images": images, "labels": labels, "classes": np.array(["a", "b"])},
        "twice": {"images": images, "labels": labels, "classes": np.array(["a", "b", "a"])},
        "single": {"images": images, "labels": labels * 0},
        "pickled": {"images": np.array([images, None], dtype=object), "labels": labels},
    }
    found = {}
    for name, content in arrays.items():
        found[name] = folder / f"{name}.npz"
        np.savez(found[name], **content)
    found |= {name: folder / name for name in ("empty", "loose", "mixed", "broken", "sizes", "unlike")}
    for name in ("empty", "loose", "mixed/a", "mixed/b", "broken/a", "broken/b", "sizes/a", "sizes/b", "unlike/test/a"):
        (folder / name).mkdir(parents=True)
    for name in ("unlike/test/b", "unlike/train/a", "unlike/train/c", "old", "damaged", "another", "endless"):
        (folder / name).mkdir(parents=True)
    png = Image.fromarray(images[0])
    for name in ("loose/1", "mixed/a/1", "broken/a/1", "sizes/a/1", "unlike/test/a/1", "unlike/test/b/1"):
        png.save(folder / f"{name}.png")
    for name in ("unlike/train/a/1", "unlike/train/c/1"):
        png.save(folder / f"{name}.png")
    png.resize((9, 9)).save(folder / "sizes/b/1.png")
    (folder / "broken/b/1.png").write_text("no image")
    (folder / "mixed/b/notes.txt").write_text("no image")
    torch.manual_seed(0)
    for name, channels in (("weights", 1), ("other", 3)):
        found[name] = folder / f"{name}.safetensors"
        weights.write(CNN(channels, 3), found[name], {})
    for name, content in (
        ("truncated", found["weights"].read_bytes()[:500]),
        ("pickle", pickle.dumps({"weights": 1})),
        ("text", b"no weights\n"),
        ("nil", b""),
    ):
        found[name] = folder / name
        found[name].write_bytes(content)
    found["defence"] = folder / "defence.safetensors"
    save_file({"a": torch.zeros(1)}, found["defence"], {"settings": '{"defence": "sponge"}'})
    (folder / "strange_factories.py").write_text(FACTORIES)
    (folder / "strange_syntax.py").write_text("def broken(:")
    found["given"], found["journals"] = folder, _journals(folder / "journals", images, labels)
    (folder / "old" / "results.json").write_text(json.dumps({"schema": -1}))
    (folder / "damaged" / "results.json").write_text('{"schema": 2, "rows": [')
    (folder / "another" / "results.json").write_text("[1, 2]")
    found |= {name: folder / name for name in ("old", "damaged", "another")}
    return found | {"given": folder, "absent": folder / "absent", "newline": Path("a\nb")}


OWN = "--data {own} --model cnn --weights {weights}"
WATCHED = "--data {own} --classifier cnn --weights {weights} --eps 0.1"
EVALUATE = f"evaluate {OWN} --out runs/e"
FGSM = "--attack fgsm --eps 0.1"
BUILT = "evaluate --data {own} --eps 0.1 --out runs/e --model strange_factories"
SET = f"{EVALUATE} {FGSM} --set"

CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "unknown key": ("[attack]\nepss = 1", "line 2", "[attack]", "'epss'", "nearest is 'eps'"),
    "word for a number": ("[attack]\neps = 'big'", "line 2", "attack.eps", "a number >= 0", "'big'"),
    "unknown attack": ("[attack]\nnames = 'pgdd'", "line 2", "attack", "'pgdd'", "mean pgd"),
    "code": ("[model]\nname = 'strange_factories:two'", "line 2", "'strange_factories:two'", "--trust-code"),
    "setting of another attack": (
        "[attack]\nnames = 'pgd'\n[attack.settings]\nmomentum = 1",
        *("line 4", "setting of pgd", "'momentum'"),
    ),
    "no TOML": ("eps: 0.1", "line 1, column 4", "'=' after a key"),
    "missing weights": (
        "[data]\nname = '{own}'\n[model]\nname = 'cnn'\nweights = 'w'\n[attack]\neps = 1",
        *("a weights file at w", "found none"),
    ),
}
"""A configuration file, and the parts of what is said of it; tests of the spec have all the others."""

LINES: dict[str, tuple[str, ...]] = {
    # the file itself and --set
    "no such file": ("evaluate absent.toml", "configuration file at absent.toml, found none"),
    "a folder for a file": ("evaluate {empty}", "configuration file", "the folder"),
    "weights for a file": ("evaluate {weights}", "UTF-8", "the byte"),
    "two files": ("evaluate a.toml b.toml", "unrecognized arguments", "b.toml"),
    "set without a value": (f"{SET} attack.eps", "--set", "NAME=VALUE", "'attack.eps'"),
    "set of an unknown key": (f"{SET} attack.epss=1", "--set attack.epss=1", "expected a key of [attack]", "'epss'"),
    "set of an unknown table": (f"{SET} atack.eps=1", "table", "'atack'", "the nearest is 'attack'"),
    "set to a word": (f"{SET} attack.eps=big", "--set attack.eps=big", "expected attack.eps", "number >= 0", "'big'"),
    "set of another attack": (
        f"{SET} momentum=1",
        "setting of fgsm",
        "'momentum'",
        "it has none",
    ),
    "set of no attack at all": (
        f"{EVALUATE} --attack fgsm pgd --eps 0.1 --set restart=1",
        "setting of fgsm or pgd",
        "'restart'",
        "restarts",
    ),
    # data
    "unknown data": (
        "evaluate --data mnst --eps 0.1",
        "data set",
        "'mnst'",
        "mnist",
    ),
    "missing npz": (
        "evaluate --data absent.npz --eps 0.1",
        "a folder of images or an .npz",
        "absent.npz",
    ),
    "empty folder": ("evaluate --data {empty} --eps 0.1", "one sub-folder of images for each class"),
    "images in no class": ("evaluate --data {loose} --eps 0.1", "one sub-folder of images for each class"),
    "text among images": ("evaluate --data {mixed} --eps 0.1", "only images"),
    "text named png": ("evaluate --data {broken} --eps 0.1", "whole PNG, JPEG, BMP or WebP image"),
    "images of two sizes": ("evaluate --data {sizes} --eps 0.1", "images of one size"),
    "other classes to train on": (
        "evaluate --data {unlike} --eps 0.1",
        "the same classes under train and test",
    ),
    "weights for data": (
        "evaluate --data {weights} --eps 0.1",
        "folder of images or an .npz file",
        "the file",
    ),
    "npz of nothing": ("evaluate --data {nothing} --eps 0.1", "arrays `images` and `labels`"),
    "npz of other names": ("evaluate --data {unnamed} --eps 0.1", "got x, y", "save them under these names"),
    "npz without labels": ("evaluate --data {unlabelled} --eps 0.1", "got images", "save them under these names"),
    "npz without images": ("evaluate --data {empty_npz} --eps 0.1", "at least one image"),
    "npz of flat images": ("evaluate --data {flat} --eps 0.1", "images of shape (N, H, W)"),
    "npz of five channels": ("evaluate --data {five} --eps 0.1", "images of shape (N, H, W)"),
    "npz of fewer labels": ("evaluate --data {fewer} --eps 0.1", "9 labels of shape (9,)"),
    "npz of words": ("evaluate --data {words} --eps 0.1", "integer labels"),
    "npz of shares": ("evaluate --data {shares} --eps 0.1", "integer labels"),
    "npz of integers": ("evaluate --data {integers} --eps 0.1", "images of uint8 or floats"),
    "npz of NaN": ("evaluate --data {nan} --eps 0.1", "finite pixels"),
    "npz up to 255": ("evaluate --data {bright} --eps 0.1", "images in [0, 1] in bright.npz", "a maximum"),
    "npz below 0": ("evaluate --data {centred} --eps 0.1", "images in [0, 1] in centred.npz", "a minimum"),
    "npz of negative labels": ("evaluate --data {negative} --eps 0.1", "labels in [0, 2)"),
    "npz of labels without a class": ("evaluate --data {beyond} --eps 0.1", "labels in [0, 2)"),
    "npz of one class twice": ("evaluate --data {twice} --eps 0.1", "different class names"),
    "npz of one class": ("evaluate --data {single} --eps 0.1", "at least 2 classes"),
    "pickled npz": ("evaluate --data {pickled} --eps 0.1", "got pickled objects", "could run any code"),
    "negative images": ("evaluate --images -1 --eps 0.1", "--images"),
    "images without end": (f"{EVALUATE} {FGSM} --images 99999999999999999999", "--images"),
    "images a word": ("evaluate --images many", "--images", "a whole number >= 0", "'many'"),
    # the model
    "no model for such data": ("evaluate --data {own} --eps 0.1", "--model", "for own", "--like mnist"),
    "unknown model": (
        "evaluate --data {own} --model cn --eps 0.1",
        "model",
        "'cn'",
        "cnn",
    ),
    "untrained model": ("evaluate --data {own} --model cnn --eps 0.1", "--weights for cnn"),
    "model of other data": ("evaluate --data {own} --model mnist/cnn --eps 0.1", "logits (1, 3) of mnist/cnn"),
    "factory that is not there": (f"{BUILT}:absent", "strange_factories", "'absent'"),
    "module that is not there": (
        "evaluate --data {own} --model no.such:thing --eps 1",
        "'no.such:thing'",
        "ModuleNotFoundError",
        "PYTHONPATH",
    ),
    "module that is broken": ("evaluate --data {own} --model strange_syntax:f --eps 1", "but SyntaxError"),
    "factory without a module": ("evaluate --data {own} --model :f --eps 1", "the name of a model", "':f'"),
    "factory without a name": (f"{BUILT}:", "the name of a model", "'strange_factories:'"),
    "factory that is a number": (f"{BUILT}:number", "a function or a class", "strange_factories:number", "int"),
    "factory that raises": (f"{BUILT}:raises", "without settings", "RuntimeError", "two lines"),
    "factory that leaves": (f"{BUILT}:leaves", "without settings", "SystemExit", "enough"),
    "factory of nothing": (f"{BUILT}:none", "an nn.Module", "NoneType"),
    "factory of a class": (f"{BUILT}:a_class", "an nn.Module", "type"),
    "model of two classes": (
        f"{BUILT}:two",
        "logits (1, 3) of strange_factories:two for an image (1, 1, 28, 28), got",
    ),
    "model of no classes": (f"{BUILT}:flat", "logits (1, 3)"),
    "model of pictures": (f"{BUILT}:picture", "logits (1, 3)"),
    "model of pairs": (
        f"{BUILT}:a_pair",
        "logits (1, 3) of strange_factories:a_pair for an image (1, 1, 28, 28)",
        "tuple",
    ),
    "model of another batch": (f"{BUILT}:one_answer", "logits (1, 3)"),
    "model of NaN": (f"{BUILT}:nan", "finite floats of strange_factories:nan for an image", "NaN"),
    "model of whole numbers": (
        f"{BUILT}:whole",
        "finite floats of strange_factories:whole for an image",
        "torch.int64",
    ),
    "model that fails": (f"{BUILT}:fails", "images (1, 1, 28, 28)", "RuntimeError"),
    "model for colour": (f"{BUILT}:colour", "images (1, 1, 28, 28)", "RuntimeError"),
    "missing weights": (
        "evaluate --data {own} --model cnn --weights no --eps 1",
        "weights file at no, found none",
    ),
    "a folder for weights": ("evaluate --data {own} --model cnn --weights {empty} --eps 1", "weights file"),
    "another network's weights": (
        "evaluate --data {own} --model cnn --weights {other} --eps 1",
        "got those of another network",
    ),
    "pickled weights": ("evaluate --data {own} --model cnn --weights {pickle} --eps 1", "got a pickle"),
    "truncated weights": ("evaluate --data {own} --model cnn --weights {truncated} --eps 1", "safetensors in"),
    "text for weights": ("evaluate --data {own} --model cnn --weights {text} --eps 1", "safetensors in"),
    "empty weights": ("evaluate --data {own} --model cnn --weights {nil} --eps 1", "safetensors in"),
    "unknown device": (f"{EVALUATE} {FGSM} --device abacus", "device that is there"),
    "no such GPU": (f"{EVALUATE} {FGSM} --device cuda:99", "a"),
    "seed a word": (f"{EVALUATE} {FGSM} --seed one", "--seed", "a whole number", "'one'"),
    "seed of more than 64 bits": (
        f"{EVALUATE} {FGSM} --seed 99999999999999999999",
        "--seed",
        "whole number",
    ),
    # defence and detector
    "unknown defence": (f"{EVALUATE} {FGSM} --defence unett", "defence", "'unett'"),
    "defence of other data": (f"{EVALUATE} {FGSM} --defence unet", "defence", "'unet'"),
    "classifier for a defence": (f"{EVALUATE} {FGSM} --defence {{weights}}", "settings of"),
    "unknown kind of defence": (f"{EVALUATE} {FGSM} --defence {{defence}}", "settings of"),
    "text for a defence": (f"{EVALUATE} {FGSM} --defence {{text}}", "safetensors in"),
    "defence's unknown setting": (
        f"{EVALUATE} {FGSM} --defence jpeg:qualty=5",
        "setting of jpeg",
        "'qualty'",
    ),
    "defence's setting without a value": (
        f"{EVALUATE} {FGSM} --defence jpeg:quality",
        "settings",
        "jpeg:quality=VALUE",
    ),
    "defence's setting out of range": (f"{EVALUATE} {FGSM} --defence jpeg:quality=0", "quality"),
    "defence's setting a word": (f"{EVALUATE} {FGSM} --defence jpeg:quality=high", "quality"),
    "defence's setting a bool": (f"{EVALUATE} {FGSM} --defence bit-depth:bits=true", "bits"),
    "defence's ratio a word": (f"{EVALUATE} {FGSM} --defence resize-pad:ratio=big", "ratio"),
    "defence's weight a word": (f"{EVALUATE} {FGSM} --defence total-variation:weight=big", "weight"),
    "settings of no defence": (f"{EVALUATE} {FGSM} --defence none:a=1", "no settings for the defence none"),
    "unknown detector": (f"{EVALUATE} {FGSM} --detector combined", "detector"),
    "weights for a detector": (f"{EVALUATE} {FGSM} --detector {{weights}}", "expected"),
    "detector of other data": (f"{EVALUATE} {FGSM} --detector mnist/combined", "expected"),
    "share of all": (
        f"{EVALUATE} {FGSM} --detector mnist/combined --fpr 1",
        "--fpr",
        "number above 0 and below 1",
    ),
    "share unused": (f"{EVALUATE} {FGSM} --fpr nan", "--fpr", "number above 0 and below 1"),
    # attacks
    "unknown attack": (
        f"{EVALUATE} --attack pgdd --eps 0.1",
        "attack",
        "'pgdd'",
        "pgd",
    ),
    "file behind the attacks": (
        f"{EVALUATE} --attack pgd run.toml --eps 0.1",
        "attack",
        "'run.toml'",
    ),
    "unknown norm": (f"{EVALUATE} {FGSM} --norm L3", "--norm", "Linf, L2, L1, L0", "'L3'"),
    "a norm that the paper lacks": (
        f"{EVALUATE} --attack ddn --eps 1",
        "L2 for ddn,",
        "its paper has",
        "Linf",
    ),
    "no eps": (f"{EVALUATE} --attack pgd", "--eps for pgd"),
    "negative eps": (f"{EVALUATE} --attack pgd --eps -1", "--eps", "a number >= 0", "-1"),
    "eps nan": (f"{EVALUATE} --attack pgd --eps nan", "--eps", "a number >= 0", "nan"),
    "eps inf": (f"{EVALUATE} --attack pgd --eps inf", "radius for pgd"),
    "eps a word": (f"{EVALUATE} --attack pgd --eps big", "--eps", "8/255", "'big'"),
    "steps of none": (f"{EVALUATE} {FGSM} --steps 3", "no --steps for fgsm", "has none"),
    "no steps": (f"{EVALUATE} --attack pgd --eps 1 --steps 0", "--steps", "whole number >= 1", "0"),
    "no size": (f"{EVALUATE} --attack pgd --eps 1 --size 0", "--size", "number > 0", "0"),
    "no restarts": (
        f"{EVALUATE} --attack pgd --eps 1 --restarts 0",
        "--restarts",
        "whole number >= 1",
        "0",
    ),
    "no queries": (
        f"{EVALUATE} --attack square --eps 1 --queries 0",
        "--queries",
        "whole number >= 1",
        "0",
    ),
    "setting out of range": (f"{EVALUATE} --attack mi-fgsm --eps 1 --set momentum=-1", "momentum"),
    "setting a word": (f"{EVALUATE} --attack mi-fgsm --eps 1 --set momentum=high", "momentum"),
    "setting a function": (
        f"{EVALUATE} --attack square --eps 1 --set loss=dlr",
        "setting of square",
    ),
    "setting no pair": (
        f"{EVALUATE} --attack spatial --set grid=3",
        "settings that make spatial",
        "{'grid'",
        "3}",
    ),
    "setting no number": (f"{EVALUATE} --attack cw --norm L2 --set confidence=much", "settings that make cw"),
    "setting nothing": (f"{EVALUATE} --attack square --eps 1 --set p=none", "p"),
    "transfer from nothing": (f"{EVALUATE} --attack transfer --eps 1", "--surrogate for transfer"),
    "untrained surrogate": (f"{EVALUATE} {FGSM} --surrogate cnn", "surrogate", "'cnn'", "mean mnist/cnn"),
    "surrogate of other classes": (
        f"{EVALUATE} {FGSM} --surrogate mnist/lenet",
        "logits (1, 3) of mnist/lenet",
    ),
    "surrogate of pictures": (f"{EVALUATE} {FGSM} --surrogate strange_factories:picture", "logits (1, 3)"),
    "several surrogates": (
        f"{EVALUATE} --attack universal --eps 1 --surrogate mnist/cnn",
        "no --surrogate for universal",
    ),
    # the run folder
    "a file for a folder": (f"evaluate {OWN} {FGSM} --out {{text}}", "folder that can be written"),
    "a file above the folder": (f"evaluate {OWN} {FGSM} --out {{text}}/run", "folder that can be written"),
    "a folder where there are none": (
        f"evaluate {OWN} {FGSM} --out /proc/run",
        "folder that can be written",
    ),
    "a name too long": (f"evaluate {OWN} {FGSM} --out {'n' * 300}", "folder that can be written"),
    # other commands
    "no command": ("", "arguments are required", "command"),
    "unknown command": ("evaluat", "invalid choice", "'evaluat'"),
    "two lines in a name": ("report {newline}", "run folder with results.json, found none in a b"),
    "two lines in an option": ("report a {newline}", "unrecognized arguments", "a b"),
    "unknown option": (f"{EVALUATE} --epsilon 0.1", "unrecognized arguments", "--epsilon"),
    "report of nothing": ("report absent", "run folder with results.json, found none in absent"),
    "report of a file": ("report {text}", "run folder with results.json"),
    "report of an old run": ("report {old}", "results of schema"),
    "report of a damaged run": ("report {damaged}", "got a damaged or other file"),
    "report of another file": ("report {another}", "got a damaged or other file"),
    "attack at several radii": (f"attack {OWN} --eps 0.1 0.2", "one attack at one eps to write images of"),
    "attack at no radius": (f"attack {OWN}", "--eps for pgd"),
    "attack to a class too many": (f"attack {OWN} --eps 0.1 --target 3", "--target in [0, 3)", "3"),
    "attack to no class": (f"attack {OWN} --eps 0.1 --target -1", "--target in [0, 3)", "-1"),
    "attack by half a picture": (f"attack {OWN} --eps 0.1 --png 0.5", "invalid int value", "'0.5'"),
    "attack with an unknown setting": (f"attack {OWN} --eps 0.1 --set restart=2", "did you mean restarts"),
    "attack with a key of evaluate": (
        f"attack {OWN} --eps 0.1 --set run.curve=false",
        "a key that this command has",
        "run.curve",
    ),
    "attack by a huge seed": (f"attack {OWN} --eps 0.1 --images 5 --seed 99999999999999999999", "--seed"),
    "certify with no noise": (f"certify {OWN} --sigma 0", "sigma"),
    "certify with NaN noise": (f"certify {OWN} --sigma nan", "sigma"),
    "certify at a negative radius": (f"certify {OWN} --radii -1", "--radii", "a number >= 0"),
    "certify with no copies": (f"certify {OWN} --n 0", "n", "whole number >= 1", "0"),
    "certify with no chance": (f"certify {OWN} --alpha 0", "alpha above 0 and below 1", "0"),
    "certify in no batch": (f"certify {OWN} --batch-size 0", "batch size", "whole number >= 1", "0"),
    "certify an unknown defence": (f"certify {OWN} --defence jpg", "defence"),
    "detect by an unknown detector": (
        f"detect {WATCHED} --detector sniffer",
        "detector's name or file",
        "'sniffer'",
    ),
    "detect with an unknown attack": (f"detect {WATCHED} --attack pgdd", "attack", "'pgdd'"),
    "detect without training images": (f"detect {WATCHED}", "training images in own to fit"),
    "features of no layer": (f"features {OWN} --eps 0.1 --layers nose", "layer", "'nose'"),
    "features of no picture": (
        f"features {OWN} --eps 0.1 --pictures 0",
        "--pictures",
        "number of images from 1",
    ),
    "features of several attacks": (
        f"features {OWN} --eps 0.1 --attack fgsm pgd",
        "one attack at one eps to draw",
    ),
    "features of no radius": (
        f"features {OWN} --attack ddn --norm L2",
        "attack on each image inside a radius",
    ),
    "data of what": ("data check", "source to check"),
    "data that is broken": ("data check {broken}", "whole PNG, JPEG, BMP or WebP image"),
}
"""A command line, and the parts of what is said of it."""

RUNS: dict[str, tuple[str, ...]] = {
    "no folder to list": ("runs list {given}/nowhere", "folder of runs, found none"),
    "nothing said": ("runs", "the following arguments are required"),
    "another word": ("runs delete", "invalid choice", "'delete'"),
    "no run to show": ("runs show {empty}", "run folder with run.sqlite"),
    "a folder that is none": ("runs show {given}/nowhere", "run folder with run.sqlite"),
    "another version": ("runs show {journals}/version", "run of schema 2 in"),
    "no database": ("runs show {journals}/text", "got a damaged or other file"),
    "a journal without its begin": ("runs show {journals}/bare", "got a damaged one"),
    "comparing with nothing": ("runs compare {journals}/one {empty}", "run folder with run.sqlite"),
    "comparing with one alone": ("runs compare {journals}/one", "the following arguments are required", "second"),
    "comparing other threats": (
        "runs compare {journals}/one {journals}/wide",
        "two runs under a threat that both",
    ),
    "comparing other images": ("runs compare {journals}/one {journals}/others", "two runs on the same images"),
    "exporting nothing": ("runs export {empty} samples.csv", "run folder with run.sqlite"),
    "another format": ("runs export {journals}/one samples.xls", "format", "'xls'"),
    "no format": ("runs export {journals}/one samples", "format"),
    "exporting into a file": ("runs export {journals}/one {text}/samples.csv", "to write"),
    "another run's folder": (
        "evaluate --data {own} --model cnn --weights {weights} --eps 0.1 --out {journals}/one",
        "choose another --out, or begin again with --fresh",
    ),
    "a folder of another version": (
        "evaluate --data {own} --model cnn --weights {weights} --eps 0.1 --out {journals}/version",
        "steelman of another version",
    ),
    "a damaged journal to go on with": (
        "evaluate --data {own} --model cnn --weights {weights} --eps 0.1 --out {journals}/text",
        "got a damaged or other file",
    ),
    "a batch of nothing": (
        "evaluate --data {own} --model cnn --weights {weights} --eps 0.1 --batch 0",
        "--batch",
    ),
}
"""Cases of `steelman runs …`, and of folders that hold another run."""

CASES = (
    {f"configuration: {name}": ("evaluate run.toml", text, said) for name, (text, *said) in CONFIGURATIONS.items()}
    | {name: (line, "", said) for name, (line, *said) in LINES.items()}
    | {f"runs: {name}": (line, "", said) for name, (line, *said) in RUNS.items()}
)


def _journals(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> Path:
    """Runs of a linear model, and what is none."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 3)).eval()
    quick = EvaluationOptions(certify=False, curve=False, check=False, pictures=0)
    own = Images(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels), ("a", "b", "c"), "own test")
    runs = {"one": (own, 0.1, [0, 1]), "wide": (own, 0.2, [0, 1])}
    for name, (images, eps, chosen) in (runs | {"others": (own, 0.1, [2, 3])}).items():
        some = images.take(torch.tensor(chosen))
        evaluate(model, some, attacks.fgsm(Linf(eps)), quick, folder=folder / name)
    for name in ("version", "text", "bare"):
        (folder / name).mkdir()
    (folder / "text" / "run.sqlite").write_text("no database, and that at some length" * 20)
    for name, version in (("version", 99), ("bare", 2)):
        with closing(sqlite3.connect(folder / name / "run.sqlite")) as db:
            db.execute("create table about (key text primary key, value text not null)")
            db.execute(f"pragma user_version = {version}")
            db.commit()
    for name in ("version", "text"):
        (folder / name / ".lock").touch()
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_one_line_exit_code_2_and_nothing_written(
    case: str,
    places: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tells: Callable[[object, tuple[str, ...]], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(places["given"])
    line, text, said = CASES[case]
    if text:
        Path("run.toml").write_text(text.replace("{own}", str(places["own"])), encoding="utf-8")
    before = [sorted(folder.rglob("*")) for folder in (tmp_path, places["given"])]
    try:
        code = main([word.format(**places) for word in line.split()])
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    told = capsys.readouterr().err
    tells(told, tuple(said))
    assert code == 2
    assert told.startswith("steelman")
    assert told.endswith("\n")
    after = [sorted(folder.rglob("*")) for folder in (tmp_path, places["given"])]
    assert [[path for path in paths if "__pycache__" not in path.parts] for paths in after] == before
