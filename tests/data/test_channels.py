"""Images of other than three channels: how they are read, transformed, and refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ppcls
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.data import image
from ppcls.data.transforms.base import TRANSFORMS, Transform
from ppcls.data.transforms.colour_geometry import ColorJitter, Pad, RandomGrayscale, RandomRotation
from ppcls.data.transforms.erase import Cutout, GridMask, HideAndSeek, RandomErasing
from ppcls.data.transforms.normalize import NormalizeImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.policies import AugMix, AutoAugment, RandAugmentV2, TimmAutoAugment
from ppcls.data.transforms.resize_crop import (
    CropImage,
    DecodeImage,
    RandCropImage,
    RandFlipImage,
    ResizeImage,
)
from ppcls.errors import ConfigError, ImageError


def noise(channels: int, height: int = 37, width: int = 29, dtype: Any = np.uint8) -> np.ndarray:
    shape = (height, width, channels)
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def tiff(
    array: np.ndarray,
    *,
    planar: int = 1,
    compression: int = 1,
    predictor: int = 1,
    order: str = "<",
    side: int = 0,
    **tags: tuple[int, ...],
) -> bytes:
    """A TIFF of these samples (TIFF 6.0): in strips of 8 rows, or tiles of a `side`."""
    height, width, channels = array.shape
    planes = [array] if planar == 1 else [array[..., i : i + 1] for i in range(channels)]
    parts = []
    for plane in planes:
        for top in range(0, height, side or 8):
            for left in range(0, width, side or width):
                part = plane[top : top + (side or 8), left : left + (side or width)]
                if side:
                    spare = [(0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0)]
                    part = np.pad(part, spare)
                if predictor == 2:
                    part = np.diff(part, axis=1, prepend=part.dtype.type(0))
                data = part.astype(part.dtype.newbyteorder(order)).tobytes()
                parts.append(zlib.compress(data) if compression == 8 else data)
    offsets = np.cumsum([8, *map(len, parts)])[:-1].tolist()
    counts = list(map(len, parts))
    named: dict[int, Any] = {
        256: [width],
        257: [height],
        258: [8 * array.dtype.itemsize] * channels,
        259: [compression],
        262: [1],
        277: [channels],
        284: [planar],
        317: [predictor],
    }
    if side:
        named |= {322: [side], 323: [side], 324: offsets, 325: counts}
    else:
        named |= {273: offsets, 278: [8], 279: counts}
    named |= {int(name[1:]): values for name, values in tags.items()}
    body = b"".join(parts)
    body += bytes(len(body) % 2)
    at, entries, more = 8 + len(body), b"", b""
    for tag, values in sorted(named.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            place = at + 2 + 12 * len(named) + 4 + len(more)
            packed, more = struct.pack(f"{order}I", place), more + packed
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    mark = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(f"{order}H", len(named))
    return b"".join((mark, struct.pack(f"{order}I", at), body, count, entries, bytes(4), more))


# Reading ------------------------------------------------------------------------------------------


def test_gray_is_the_luma_of_rgb_and_gray_files_keep_their_values() -> None:
    gray = noise(1)[..., 0]
    for picture in (Image.fromarray(gray), Image.fromarray(gray).convert("RGB")):
        np.testing.assert_array_equal(image.read(png(picture), channels=1), gray[..., None])
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    read = image.read(png(Image.fromarray(colours)), channels=1)
    assert read[0, :, 0].tolist() == [76, 150, 29, 255]  # ITU-R 601: 0.299, 0.587, 0.114
    np.testing.assert_array_equal(image.read(colours, channels=1), read)
    assert image.read(gray, channels=1).shape == (37, 29, 1)
    clear = Image.fromarray(np.zeros((2, 2, 4), np.uint8))
    assert (image.read(png(clear), channels=1) == 255).all()  # on white, as in RGB


def test_alpha_stays_only_where_the_channels_are_asked_for() -> None:
    rgba, la = Image.fromarray(noise(4)), Image.fromarray(noise(2))
    for picture, channels in ((rgba, 4), (la, 2)):
        kept = image.read(png(picture), channels=channels)
        np.testing.assert_array_equal(kept, np.asarray(picture))
        assert image.read(png(picture)).shape == (37, 29, 3)
        np.testing.assert_array_equal(image.read(picture, channels=channels), kept)
    palette = Image.fromarray(noise(1)[..., 0]).convert("P")
    assert image.read(png(palette, transparency=3), channels=4).shape == (37, 29, 4)
    with pytest.raises(ImageError, match="3 channels found, 4 expected"):
        image.read(png(rgba.convert("RGB")), channels=4)
    with pytest.raises(ImageError, match="4 channels found, 5 expected"):
        image.read(rgba, channels=5)


@pytest.mark.parametrize("shape", [(37, 29), (37, 29, 1), (37, 29, 3), (37, 29, 5)])
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_in_files_are_read(shape: tuple[int, ...], dtype: str, order: Any) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    expected = array.astype(np.uint8)
    if dtype != "u1":
        expected, array = array.astype(np.uint8), (array * 257).astype(dtype)
    read = image.read(npy(np.asarray(array, order=order)), channels=(*shape, 1)[2])
    np.testing.assert_array_equal(read, expected.reshape(*shape[:2], -1))
    assert (read.dtype, read.flags.c_contiguous) == (np.uint8, True)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 5), np.float32), "an array of float32 found, uint8 or uint16 expected"),
        (np.array([{}]), "an array of object found"),
        (np.zeros(5, np.uint8), "an array of shape .5,. found"),
        (np.zeros((0, 5), np.uint8), "an array of shape"),
        (np.zeros((5, 30, 20), np.uint8), "20 channels found, 5 expected .* channels come last"),
        (np.zeros((4, 4, 600), np.uint8), "600 channels found, 5 expected"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    data = npy(array)
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ImageError, match=message):
        image.read(data, channels=5)
    with pytest.raises(ImageError, match=message):
        image.read_header(tmp_path / "a.npy", channels=5)


def test_a_claimed_size_takes_no_memory() -> None:
    data = npy(np.zeros((4, 4, 5), np.uint8))
    head = data[:128].replace(b"(4, 4, 5)", b"(9000, 9000, 5)", 1)
    with pytest.raises(ImageError, match=r"the array is truncated|too many samples"):
        image.read(head[:128] + data[128:], channels=5)
    with pytest.raises(ImageError, match="the array is truncated"):
        image.read(data[:-1], channels=5)
    with pytest.raises(ImageError, match="too many pixels"):
        image.read(data, channels=5, max_pixels=15)
    with pytest.raises(ImageError, match="too many samples: 4x4x5, more than the limit of 48"):
        image.read(data, channels=5, max_pixels=16)


@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [1, 2])
def test_tiffs_of_several_bands_are_read(channels: int, dtype: Any, planar: int) -> None:
    array = noise(channels, dtype=dtype)
    expected = np.rint(array * (255 / np.iinfo(dtype).max)).astype(np.uint8)
    for options in (
        {},
        {"compression": 8, "order": ">"},
        {"compression": 8, "predictor": 2},
        {"side": 16},
        {"side": 16, "compression": 8, "predictor": 2, "order": ">"},
    ):
        data = tiff(array, planar=planar, **options)
        np.testing.assert_array_equal(image.read(data, channels=channels), expected, str(options))


def test_a_tiff_of_rgb_and_more_bands(tmp_path: Path) -> None:
    colour = {"t262": (2,)}
    near_infrared = tiff(noise(4), **colour)
    np.testing.assert_array_equal(image.read(near_infrared, channels=4), noise(4))
    np.testing.assert_array_equal(image.read(tiff(noise(3)), channels=3), noise(3))
    with pytest.raises(ImageError, match="5 channels found, 3 expected"):
        image.read(tiff(noise(5), **colour))
    turned = image.read(tiff(noise(5), t274=(6,)), channels=5)
    np.testing.assert_array_equal(turned, np.rot90(noise(5), -1))
    (tmp_path / "a.tif").write_bytes(tiff(noise(5)))
    assert image.read_header(tmp_path / "a.tif") == ("TIFF", "5 x uint8", 29, 37, 5)


def test_damaged_tiffs_of_several_bands_are_refused() -> None:
    data = tiff(noise(5), compression=8)
    for end in range(8, len(data), 97):
        with pytest.raises(ImageError):
            image.read(data[:end], channels=5)
    for tags in ({"t278": (0,)}, {"t278": (1,)}, {"t277": (600,)}, {"t339": (3,) * 5}):
        with pytest.raises(ImageError):
            image.read(tiff(noise(5), **tags), channels=5)
    with pytest.raises(ImageError, match="too many samples"):
        image.read(tiff(noise(5)), channels=5, max_pixels=37 * 29)


def test_any_image_can_be_shown() -> None:
    np.testing.assert_array_equal(image.read_to_show(npy(noise(5))), noise(5)[..., :3])
    np.testing.assert_array_equal(image.read_to_show(npy(noise(1)))[..., 2], noise(1)[..., 0])
    np.testing.assert_array_equal(ppcls.read_image(npy(noise(5)), channels=None), noise(5))


# Transforms ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize(
    "op",
    [
        *(ResizeImage(size=20, interpolation=how) for how in ("bilinear", "bicubic", "area")),
        *(ResizeImage(size=20, backend="pil", interpolation=how) for how in ("bicubic", "box")),
        CropImage(size=20),
        CropImage(size=50),
        Pad(padding=3, fill=7),
    ],
    ids=str,
)
def test_every_channel_is_transformed_as_a_gray_image_is(op: Transform, channels: int) -> None:
    rng, pixels = np.random.default_rng(0), noise(channels)
    given = pixels.copy()
    transformed = op(pixels, rng)
    alone = [op(pixels[..., i : i + 1], rng)[..., 0] for i in range(channels)]
    np.testing.assert_array_equal(transformed, np.dstack(alone))
    np.testing.assert_array_equal(pixels, given)
    as_rgb = op(np.repeat(pixels[..., :1], 3, axis=2), rng)
    np.testing.assert_array_equal(transformed[..., 0], as_rgb[..., 0])


GEOMETRY = [RandCropImage(), RandFlipImage(), RandomRotation(degrees=30, prob=1, fill=[1, 2, 6])]
HIDING = [Cutout(length=8), Cutout(length=8, fill_value=None), GridMask(d1=4, d2=8), HideAndSeek()]
COLOUR = [
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    RandomGrayscale(p=1),
    AutoAugment(),
    RandAugmentV2(),
    TimmAutoAugment(),
    AugMix(prob=1),
]


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("op", [*GEOMETRY, *HIDING, *COLOUR], ids=lambda op: type(op).__name__)
def test_augmentations_work_where_they_are_defined(op: Transform, channels: int) -> None:
    ops = [DecodeImage(), op, NormalizeImage(), RandomErasing(EPSILON=1, mode="pixel")]
    if op in COLOUR and channels > 1:
        with pytest.raises(ConfigError, match=f"{type(op).__name__} needs RGB or gray"):
            Pipeline(ops, (32, 32), channels)
        return
    pipeline = Pipeline(ops, (32, 32), channels)
    for seed in range(4):
        found = pipeline(npy(noise(channels, 32, 32)), np.random.default_rng(seed))
        assert (found.dtype, found.shape) == (np.float32, (32, 32, channels))


def test_three_values_become_their_average_and_one_is_for_all() -> None:
    assert NormalizeImage().for_channels(1).mean == [0.449]
    assert NormalizeImage().for_channels(2).std == [0.226, 0.226]
    assert NormalizeImage(mean=[0.5], std=[0.1, 0.2]).for_channels(2).mean == [0.5, 0.5]
    pipeline = Pipeline([DecodeImage(), NormalizeImage(mean=[0.0], std=[1.0])], channels=2)
    pixels = noise(2)[None]
    assert np.allclose(pipeline.normalize(pixels), pixels.transpose(0, 3, 1, 2) / 255)
    assert (pipeline.to_pixels(pipeline.normalize(pixels)) == pixels).all()
    with pytest.raises(ConfigError, match=r"NormalizeImage\.mean has 2 values, expected 5"):
        NormalizeImage(mean=[0.1, 0.2]).for_channels(5)
    with pytest.raises(ConfigError, match=r"Pad\.fill has 2 values, expected 3"):
        Pad(padding=1, fill=[1, 2]).for_channels(3)


def test_a_transform_of_users_keeps_the_channels() -> None:
    class Invert(Transform):
        def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return 255 - image[..., 0]

    gray = Pipeline([DecodeImage(), Invert()], channels=1)
    assert (gray(noise(1), np.random.default_rng()) == 255 - noise(1)).all()
    with pytest.raises(ConfigError, match=r"Invert returned .* expected uint8 \(H, W, 5\)"):
        Pipeline([DecodeImage(), Invert()], channels=5)(noise(5), np.random.default_rng())
    assert "Invert" not in TRANSFORMS.names


# Configuration ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "channels"),
    [
        ([], 3),
        (["Global.in_channels=1"], 1),
        (["Arch.in_channels=5"], 5),
        (["Global.image_shape=[4,64,64]"], 4),
        (["Global.in_channels=2", "Global.image_shape=[2,64,64]"], 2),
    ],
)
def test_one_option_decides_the_channels(overrides: list[str], channels: int) -> None:
    config = load_config("quick_start/folder", overrides)
    assert config.in_channels == channels
    assert config.input_shape() == [channels, 64, 64]
    assert {config.pipeline(part).channels for part in ("Train", "Eval", "Infer")} == {channels}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["Global.in_channels=0"], "expected greater than 0, not 0"),
        (["Global.in_channels=513"], "expected less than or equal to 512"),
        (
            ["Global.in_channels=1", "Global.image_shape=[3,64,64]"],
            "Global.in_channels: is 1, but Global.image_shape is .3, 64, 64.",
        ),
        (
            ["Global.in_channels=1", "Arch.in_channels=2"],
            "Arch.in_channels is 2, but Global.in_channels is 1",
        ),
        (
            ["Global.in_channels=4", "DataLoader.Train.dataset.transform_ops.1={AutoAugment: {}}"],
            "Train.dataset.transform_ops.1.AutoAugment: AutoAugment needs RGB or gray images",
        ),
        (
            ["DataLoader.Eval.dataset.transform_ops.3={NormalizeImage: {std: [1, 1]}}"],
            "Eval.dataset.transform_ops.3.NormalizeImage: NormalizeImage.std has 2 values",
        ),
        (
            ["DataLoader.Eval.dataset.transform_ops.0={DecodeImage: {channels: 4}}"],
            "DecodeImage.channels is 4, but the model takes 3",
        ),
    ],
)
def test_channels_that_do_not_fit_are_named(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("quick_start/folder", overrides)


# Tools --------------------------------------------------------------------------------------------


def test_tools_read_several_bands_or_refuse_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / "bands" / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "bands" / name / f"{i}.npy").write_bytes(npy(noise(5) // (i + 1)))
    folder = str(tmp_path / "bands")
    assert main(["data", "split", folder]) == 0
    report = tmp_path / "report.png"
    assert main(["data", "check", folder, "--report", str(report)]) == 0
    assert "5 x uint8" in capsys.readouterr().out
    assert report.stat().st_size > 10_000
    config = ["quick_start/folder", "--data", folder, "-o"]
    assert main(["data", "check", *config, "Global.in_channels=4"]) == 1
    assert "5 channels found, 4 expected" in capsys.readouterr().out
    assert main(["data", "check", *config, "Global.in_channels=5"]) == 0
    picture = tmp_path / "show.png"
    assert main(["data", "show", *config, "Global.in_channels=5", "--out", str(picture)]) == 0
    assert picture.stat().st_size > 10_000
    assert main(["data", "prepare", folder, str(tmp_path / "small")]) == 1
    assert "5 x uint8 is no gray or RGB image" in capsys.readouterr().err
