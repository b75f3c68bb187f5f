"""Weights are read as data, and loaded whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import paddle
import pytest

import ppcls
from ppcls.cli import main
from ppcls.errors import RunError, WeightsError
from ppcls.files import replacing
from ppcls.models.weight_files import read_pickle, read_weights, write_weights
from ppcls.models.weights import load_weights, save_weights


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
    assert load_weights(other, tmp_path / f"weights{suffix}") == []
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x.pdparams: not a weights file, or damaged \(0 bytes\); copy or download it"),
        (b"not a pickle", r"x.pdparams: not a weights file, or damaged \(12 bytes\); copy"),
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
    with pytest.raises(
        WeightsError, match=r"4 classes, but the model has 7; set Arch\.class_num=4"
    ):
        load_weights(model, tmp_path / "four")
    (note,) = load_weights(model, tmp_path / "four", adapt=True)
    assert "4 classes in the file, 7 in the model: _conv9 is untrained" in note
    after = model.state_dict()
    assert (after["_conv9.weight"].numpy() == before).all()
    stored = read_weights(tmp_path / "four")
    assert (after["_conv1._conv._conv.weight"].numpy() == stored["_conv1._conv._conv.weight"]).all()


def test_weights_of_another_model_are_refused_whole(tmp_path: Path) -> None:
    save_weights(ppcls.create_model("HarDNet39_ds", class_num=4), tmp_path / "hardnet.pdparams")
    model, twin = small(), small()
    twin.set_state_dict(model.state_dict())
    with pytest.raises(
        WeightsError, match=r"another model than SqueezeNet1_1: .*52 missing \(_conv"
    ):
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


@pytest.mark.parametrize("suffix", [".pdparams", ".safetensors", ".npz"])
def test_every_format_holds_the_same_and_paddle_reads_ours(tmp_path: Path, suffix: str) -> None:
    state = {key: value.numpy() for key, value in small().state_dict().items()}
    path = tmp_path / f"w{suffix}"
    write_weights(state, path)
    again = read_weights(path)
    assert again.keys() == state.keys()
    assert all((again[k] == state[k]).all() for k in state)
    if suffix == ".pdparams":
        theirs = paddle.load(str(path))
        assert all((np.asarray(theirs[k]) == state[k]).all() for k in state)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="not a weights file, or damaged"):
        read_weights(path)
    with pytest.raises(WeightsError, match="the suffix of a weights file must be"):
        write_weights(state, tmp_path / "w.bin")


def test_convert_goes_between_the_formats(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_weights(small(), tmp_path / "a.pdparams")
    steps = ["a.pdparams", "b.safetensors", "c.npz", "d.pdparams"]
    for source, target in itertools.pairwise(steps):
        assert main(["convert", str(tmp_path / source), str(tmp_path / target)]) == 0
    first, last = read_weights(tmp_path / "a.pdparams"), read_weights(tmp_path / "d.pdparams")
    assert all((first[k] == last[k]).all() for k in first)
    assert main(["convert", str(tmp_path / "a.pdparams"), str(tmp_path / "c.npz")]) == 2
    assert "c.npz exists; add --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".pdparams", ".pdopt", ".pdstates"])
def test_every_kind_of_pickle_is_read_without_running_it(tmp_path: Path, suffix: str) -> None:
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'was_here'}",)

    path = tmp_path / f"x{suffix}"
    path.write_bytes(pickle.dumps({"epoch": 3, "state": [Evil()]}))
    with pytest.raises(WeightsError, match=r"refused: the file asks to run posix\.system"):
        read_pickle(path)
    assert not (tmp_path / "was_here").exists()
    # What an optimizer of Paddle writes: arrays, numbers and maps of them.
    model = small()
    optimizer = paddle.optimizer.Momentum(
        paddle.optimizer.lr.CosineAnnealingDecay(0.1, 5), parameters=model.parameters()
    )
    model(paddle.randn([1, 3, 32, 32])).sum().backward()
    optimizer.step()
    paddle.save(optimizer.state_dict(), str(path))
    state = read_pickle(path)
    assert state["LR_Scheduler"]["last_lr"] == 0.1
    assert sum(isinstance(value, np.ndarray) for value in state.values()) == 52


def test_weights_from_within_data_parallel_load(tmp_path: Path) -> None:
    model, other = small(), small()
    state = {f"_layers.{k}": v.numpy() for k, v in model.state_dict().items()}
    write_weights(state, tmp_path / "parallel.pdparams")
    load_weights(other, tmp_path / "parallel")
    assert same(model, other)


def test_what_does_not_fit_is_skipped_only_when_asked(tmp_path: Path) -> None:
    model, other = small(), small()
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    del state["_conv1._conv._conv.bias"]
    state["_conv2._conv._conv.bias"] = np.zeros(3, "float32")
    state["extra"] = np.zeros(3, "float32")
    write_weights(state, tmp_path / "w.pdparams")
    before = {k: v.numpy().copy() for k, v in other.state_dict().items()}
    with pytest.raises(WeightsError) as raised:
        load_weights(other, tmp_path / "w")
    for part in (
        "1 missing (_conv1._conv._conv.bias)",
        "1 unexpected (extra)",
        "1 of another shape (_conv2._conv._conv.bias)",
    ):
        assert part in str(raised.value)
    (note,) = load_weights(other, tmp_path / "w", strict=False)
    assert "not loaded: of 52 keys, 1 missing" in note
    after = other.state_dict()
    assert (after["_conv.weight"].numpy() == state["_conv.weight"]).all()
    assert (after["_conv2._conv._conv.bias"].numpy() == before["_conv2._conv._conv.bias"]).all()


@pytest.mark.parametrize("in_channels", [1, 4, 6])
def test_the_stem_is_adapted_to_other_input_channels(tmp_path: Path, in_channels: int) -> None:
    model = small()
    model.eval()
    save_weights(model, tmp_path / "w.pdparams")
    with pytest.warns(UserWarning, match=f"from 3 input channels to {in_channels}"):
        other = ppcls.create_model(
            "SqueezeNet1_1", class_num=4, in_channels=in_channels, pretrained=tmp_path / "w"
        )
    other.eval()
    gray = paddle.randn([1, 1, 64, 64])
    if in_channels != 4:  # four channels weigh the three colours unevenly
        expected = model(gray.expand([1, 3, 64, 64])).numpy()
        found = other(gray.expand([1, in_channels, 64, 64])).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4)
    stem, ours = (m.state_dict()["_conv.weight"].numpy() for m in (model, other))
    turns = {1: [0], 4: [0, 1, 2, 0], 6: [0, 1, 2] * 2}[in_channels]
    expected = stem.sum(1, keepdims=True) if in_channels == 1 else stem[:, turns] * 3 / in_channels
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    message = f"take images of 3 channels, but the model takes {in_channels}; set Global.in_cha"
    with pytest.raises(WeightsError, match=message):
        load_weights(other, tmp_path / "w")


@pytest.mark.large
def test_published_weights_are_asked_for_by_name_or_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(url: str) -> Path:
        asked.append(url)
        raise WeightsError("offline")

    monkeypatch.setattr("ppcls.models.weights.fetch", fetch)
    for name, pretrained in (
        ("HarDNet39_ds", True),
        ("HRNet_W18_C", True),
        ("HRNet_W18_C", "ssld"),
        ("AlexNet", "https://example.org/x.pdparams"),
    ):
        with pytest.raises(WeightsError, match="offline"):
            ppcls.create_model(name, pretrained=pretrained)
    base = "https://paddle-imagenet-models-name.bj.bcebos.com/dygraph"
    assert asked == [
        f"{base}/HarDNet39_ds_pretrained.pdparams",
        f"{base}/legendary_models/HRNet_W18_C_pretrained.pdparams",
        f"{base}/legendary_models/HRNet_W18_C_ssld_pretrained.pdparams",
        "https://example.org/x.pdparams",
    ]
    for name, pretrained in (("HRNet_W60_C", True), ("SE_HRNet_W30_C", True), ("AlexNet", "ssld")):
        with pytest.raises(WeightsError, match=name):
            ppcls.create_model(name, pretrained=pretrained)
    assert len(asked) == 4


REAL = """\
Global: {{pretrained_model: {weights}}}
Arch: {{name: SqueezeNet1_1}}
DataLoader:
  Eval:
    dataset:
      image_root: {images}
      cls_label_path: {images}/val_list.txt
      transform_ops:
        - DecodeImage:
        - ResizeImage: {{resize_short: 256}}
        - CropImage: {{size: 224}}
        - NormalizeImage:
    sampler: {{batch_size: 25}}
"""


@pytest.mark.large
def test_real_weights_reach_their_accuracy_on_real_images(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = shared / "data/weights/SqueezeNet1_1.npz"
    text = REAL.format(weights=weights, images=shared / "data/imagenet_sample")
    (tmp_path / "real.yaml").write_text(text)
    assert main(["eval", "-c", str(tmp_path / "real.yaml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 100
    assert found["top1"] == pytest.approx(0.63, abs=0.01)
    assert found["top5"] == pytest.approx(0.83, abs=0.01)
