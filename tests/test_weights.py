"""Weights are read as data, and loaded whole or not at all."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcls
from ppcls.arch.weights import load_weights, read_weights
from ppcls.engine.checkpoint import replacing, save_weights
from ppcls.errors import RunError, WeightsError


def small(class_num: int = 4):
    return ppcls.create_model("SqueezeNet1_1", class_num=class_num)


def same(a, b) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all((ours[k].numpy() == theirs[k].numpy()).all() for k in ours)


@pytest.mark.parametrize("suffix", ["", ".pdparams"])
def test_what_is_saved_loads(tmp_path: Path, suffix: str) -> None:
    model, other = small(), small()
    save_weights(model, tmp_path / "weights.pdparams")
    assert not same(model, other)
    assert load_weights(other, tmp_path / f"weights{suffix}") is None
    assert same(model, other)
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pdparams"]


def test_weights_saved_by_paddle_itself_load_the_published_way(tmp_path: Path) -> None:
    model, other = small(), small()
    paddle.save(model.state_dict(), str(tmp_path / "w.pdparams"))
    load_weights(other, tmp_path / "w.pdparams")
    assert same(model, other)
    # Files of older versions are pickles of a name table and arrays, written with protocol 2.
    old = OrderedDict((k, v.numpy()) for k, v in model.state_dict().items())
    old["StructuredToParameterName@@"] = {k: f"conv2d_{i}" for i, k in enumerate(old)}
    (tmp_path / "old.pdparams").write_bytes(pickle.dumps(old, protocol=2))
    other = small()
    load_weights(other, tmp_path / "old")
    assert same(model, other)


def test_npz_loads(tmp_path: Path) -> None:
    model, other = small(), small()
    np.savez(tmp_path / "w.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
    load_weights(other, tmp_path / "w.npz")
    assert same(model, other)


def test_a_file_built_to_run_a_command_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'was_here'}",)

    (tmp_path / "evil.pdparams").write_bytes(pickle.dumps({"_conv.weight": Evil()}))
    with pytest.raises(WeightsError, match=r"evil\.pdparams: refused: .* run posix\.system"):
        read_weights(tmp_path / "evil.pdparams")
    assert not (tmp_path / "was_here").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a file of weights, or damaged"),
        (b"not a pickle", "not a file of weights, or damaged"),
        (pickle.dumps([1, 2]), "expected a map of names to arrays"),
        (pickle.dumps({"a": 1}), "expected a map of names to arrays"),
    ],
)
def test_other_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.pdparams").write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "x.pdparams")
    with pytest.raises(WeightsError, match=r"no such weights: .*gone"):
        read_weights(tmp_path / "gone")


def test_another_number_of_classes(tmp_path: Path) -> None:
    save_weights(small(4), tmp_path / "four.pdparams")
    model = small(7)
    before = model.state_dict()["_conv9.weight"].numpy().copy()
    with pytest.raises(WeightsError, match=r"know 4 classes, the model 7; set Arch\.class_num=4"):
        load_weights(model, tmp_path / "four")
    note = load_weights(model, tmp_path / "four", new_head=True)
    assert note is not None
    assert "4 classes there, 7 here: _conv9 starts afresh" in note
    after = model.state_dict()
    assert (after["_conv9.weight"].numpy() == before).all()
    stored = read_weights(tmp_path / "four")
    assert (after["_conv1._conv._conv.weight"].numpy() == stored["_conv1._conv._conv.weight"]).all()


def test_weights_of_another_model_are_refused_whole(tmp_path: Path) -> None:
    save_weights(ppcls.create_model("HarDNet39_ds", class_num=4), tmp_path / "hardnet.pdparams")
    model, twin = small(), small()
    twin.set_state_dict(model.state_dict())
    with pytest.raises(WeightsError, match=r"another model than SqueezeNet: .*52 missing \(_conv"):
        load_weights(model, tmp_path / "hardnet")
    state = read_weights(tmp_path / "hardnet")
    assert len(state) > 300
    assert same(model, twin)


def test_a_failed_write_leaves_the_last_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fill_the_disk() -> None:
        with replacing(path) as new:
            new.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="file: cannot write: No space left"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_real_weights_load(shared: Path) -> None:
    model = ppcls.create_model(
        "SqueezeNet1_1", pretrained=shared / "data/weights/SqueezeNet1_1.npz"
    )
    stored = read_weights(shared / "data/weights/SqueezeNet1_1.npz")
    assert (model.state_dict()["_conv9.bias"].numpy() == stored["_conv9.bias"]).all()
