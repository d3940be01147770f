"""What a data set is, its reader says or its user: never the name of a folder."""

import pytest
import torch

from steelman import data
from steelman.data import Images
from steelman.errors import InputError


def own(name: str = "mnist test") -> Images:
    return Images(torch.rand(6, 1, 8, 8), torch.tensor([0, 1] * 3), ("a", "b"), name)


def test_what_ships_bears_its_id_through_every_sample():
    loaded = data.load("fashion-mnist")
    assert loaded.train is not None
    assert {loaded.id, loaded.test.id, loaded.train.id, loaded.test.sample(5, 0).id} == {"fashion-mnist"}
    assert loaded.train.split(0.1, 0)[1].id == data.load(loaded).id == data.load(loaded.test).id == "fashion-mnist"


def test_a_folder_called_mnist_is_not_mnist(tmp_path, two_kinds):
    folder = two_kinds(8, 2, 2).rename(tmp_path / "mnist")
    assert data.load(folder).name == "mnist"
    assert data.load(folder).id == ""
    assert data.load(own()).id == ""
    assert own().dataset == "mnist"


def test_a_user_says_what_their_images_are(two_kinds):
    loaded = data.load(two_kinds(8, 2, 2), like="mnist")
    assert loaded.train is not None
    assert loaded.id == loaded.train.id == loaded.test.id == "mnist"
    assert data.load(loaded, like="mnist").id == "mnist"


def test_a_wrong_word_is_one_clear_error():
    with pytest.raises(InputError, match="did you mean mnist"):
        data.load(own(), like="mnst")
    with pytest.raises(InputError, match="got mnist itself: leave like out"):
        data.load(data.load(own(), like="mnist"), like="cifar10")
