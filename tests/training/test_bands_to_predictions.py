"""A model of gray images and one of five bands, from the first step to equal predictions."""

from __future__ import annotations

import io
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import CONFIG
from PIL import Image

import ppcls
from ppcls.benchmark.measure import Wanted, measure
from ppcls.bundle import read_bundle
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.config.from_checkpoint import trained_config
from ppcls.errors import BundleError, WeightsError
from ppcls.inference.predictor import Predictor
from ppcls.models.weight_files import read_weights
from ppcls.models.weights import save_weights

needs_onnx = pytest.mark.skipif(
    find_spec("paddle2onnx") is None, reason="the extra onnx is not installed"
)


def write_images(folder: Path, channels: int) -> None:
    """Two classes of 16 images that differ in their last channel; gray ones are PNG."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (folder / name).mkdir(parents=True)
        for i in range(16):
            pixels = rng.integers(0, 100, (40, 36, channels), np.uint8)
            pixels[..., -1] += np.uint8(150 * label)
            if channels == 1:
                Image.fromarray(pixels[..., 0]).save(folder / name / f"{i}.png")
            else:
                np.save(folder / name / f"{i}.npy", pixels)
    assert main(["data", "split", str(folder), "--val", "0.25"]) == 0


def overrides(folder: Path, channels: int) -> list[str]:
    return [
        "Global.epochs=1",
        "Global.image_shape=null",
        f"Global.in_channels={channels}",
        f"Global.output_dir={folder / 'output'}",
        "Global.use_visualdl=true",
    ]


@pytest.fixture(scope="module", params=[1, 5])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The channels of a model, its data set, and its folder, fine-tuned from weights for RGB."""
    channels, folder = request.param, tmp_path_factory.mktemp("channels")
    write_images(folder / "images", channels)
    (folder / "config.yaml").write_text(CONFIG.format(), encoding="utf-8")
    paddle.seed(0)
    save_weights(ppcls.create_model("SqueezeNet1_1"), folder / "rgb.pdparams")
    given = [*overrides(folder, channels), f"Global.pretrained_model={folder / 'rgb'}"]
    config = load_config(folder / "config.yaml", given, data=folder / "images")
    ppcls.train(config)
    return channels, folder


@pytest.mark.training
def test_a_run_adapts_the_weights_for_rgb_and_says_so(trained: tuple[int, Path]) -> None:
    channels, folder = trained
    run = folder / "output/SqueezeNet1_1"
    log = (run / "train.log").read_text(encoding="utf-8")
    how = {1: "their sum", 5: "repeated in turn and rescaled"}[channels]
    assert f"_conv.weight adapted from 3 input channels to {channels}: {how}" in log
    assert "NormalizeImage has values for RGB" in log
    assert read_weights(run / "latest.pdparams")["_conv.weight"].shape[1] == channels
    assert (run / "vdl").is_dir()


@needs_onnx
@pytest.mark.process
@pytest.mark.training
def test_an_export_answers_as_the_model_does(
    trained: tuple[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channels, folder = trained
    weights = str(folder / "output/SqueezeNet1_1/latest")
    evaluated = ppcls.evaluate(trained_config(weights))
    for options, shape in ((["--onnx"], [-1, channels, 32, 32]), (["--uint8-input"], None)):
        assert main(["export", weights, str(tmp_path / options[0]), *options]) == 0
        spec = read_bundle(tmp_path / options[0])
        assert spec.parity.verified
        assert spec.parity.images == 8
        assert spec.Input.shape == (shape or [-1, 32, 32, channels])
        assert spec.Input.color == {1: "gray", 5: "bands"}[channels]
        assert spec.Input.decode.channels == channels
    images = folder / "images"
    listed = (images / "val_list.txt").read_text(encoding="utf-8").split("\n")
    paths = [images / line.split(" ")[0] for line in listed if line]
    arrays = [ppcls.read_image(path, channels=channels) for path in paths]
    predictions = []
    runs = (("--onnx", "paddle"), ("--onnx", "onnxruntime"), ("--uint8-input", "paddle"))
    for name, backend in runs:
        with Predictor(tmp_path / name, backend=backend, device="cpu") as predictor:
            for inputs in (paths, arrays, [path.read_bytes() for path in paths]):
                found = list(predictor.predict_logits(inputs))
                assert not any(one.error for one in found)
                predictions.append(np.stack([one.logits for one in found]))
    for other in predictions[1:]:
        np.testing.assert_allclose(other, predictions[0], atol=1e-5)
    right = predictions[0].argmax(1) == [int(line.split(" ")[1]) for line in listed if line]
    assert right.mean() == pytest.approx(evaluated.means["top1"])
    capsys.readouterr()
    pictures = ["--save-images", str(tmp_path / "drawn"), "--grid", str(tmp_path / "grid.png")]
    assert main(["predict", str(tmp_path / "--onnx"), str(images), *pictures]) == 0
    assert len(list((tmp_path / "drawn").rglob("*.png"))) == 32
    wanted = Wanted(backends=["paddle"], precisions=["fp32"], batch_sizes=[1], seconds=0.01)
    (row,) = measure([tmp_path / "--onnx"], wanted)
    assert not isinstance(row, str), row


@pytest.mark.training
def test_other_channels_are_refused_by_name(
    trained: tuple[int, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channels, folder = trained
    weights = str(folder / "output/SqueezeNet1_1/latest")
    assert main(["export", weights, str(tmp_path / "bundle"), "--no-check"]) == 0
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((40, 40, 4), np.uint8))
    with Predictor(tmp_path / "bundle", device="cpu") as predictor:
        (found,) = predictor.predict([buffer.getvalue()])
        assert f"4 channels found, {channels} expected" in str(found.error)
        (found,) = predictor.predict([np.zeros((40, 40, 4), np.uint8)])
        assert f"must be uint8 (H, W, {channels}), not uint8 (40, 40, 4)" in str(found.error)
    with pytest.raises(WeightsError, match=f"take images of {channels} channels?, but the model"):
        ppcls.evaluate(trained_config(weights, ["Global.in_channels=3"]))
    text = (tmp_path / "bundle/inference.yml").read_text(encoding="utf-8")
    edited = text.replace(f"channels: {channels}", "channels: 4")
    (tmp_path / "bundle/inference.yml").write_text(edited, encoding="utf-8")
    with pytest.raises(BundleError, match="decode gives 4 channels, but the shape is"):
        read_bundle(tmp_path / "bundle")
    config = ["-c", str(folder / "config.yaml"), "--data", str(folder / "images"), "-o"]
    output = f"Global.output_dir={tmp_path / 'other'}"
    assert main(["train", *config, *overrides(folder, 6), output]) == 1
    assert f"{channels} channel" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "other", ignore_errors=True)
