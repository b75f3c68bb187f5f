"""Augmentations: what each does, checked by hand where a picture allows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from ppcls.data import image
from ppcls.data.datasets import ImageDataset
from ppcls.data.lists import Sample
from ppcls.data.loader import Loader
from ppcls.data.samplers import RASampler
from ppcls.data.transforms import policies as autoaugment
from ppcls.data.transforms.base import Transform, TransformOp
from ppcls.data.transforms.colour_geometry import (
    ColorJitter,
    Pad,
    RandomGrayscale,
    RandomRotation,
)
from ppcls.data.transforms.erase import Cutout, GridMask, HideAndSeek, RandomErasing
from ppcls.data.transforms.normalize import NormalizeImage, ToCHWImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.policies import (
    AugMix,
    AutoAugment,
    RandAugment,
    RandAugmentV2,
    TimmAutoAugment,
)
from ppcls.data.transforms.resize_crop import CropImage, DecodeImage, RandCropImage, ResizeImage
from ppcls.errors import ConfigError, ImageError
from ppcls.inference.predictor import Classifier

WHITE = np.full((48, 64, 3), 255, np.uint8)
NORMALIZE = NormalizeImage(scale="1.0/255.0")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photo(height: int = 48, width: int = 64) -> np.ndarray:
    """Something with smooth parts, edges and all colours."""
    y, x = np.mgrid[:height, :width]
    channels = [x * 255 // width, y * 255 // height, (x + y) * 4 % 256]
    return np.stack(channels, axis=2).astype(np.uint8)


RANDOM = [
    RandCropImage(size=32, backend="pil"),
    RandomRotation(prob=1, degrees=30),
    ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    RandomGrayscale(p=0.5),
    AutoAugment(),
    RandAugment(),
    RandAugmentV2(),
    TimmAutoAugment(),
    TimmAutoAugment(config_str="rand-m9-n3-mstd0.5-w0", interpolation="random"),
    TimmAutoAugment(config_str="augmix-m5-w4-d2"),
    TimmAutoAugment(config_str="original-mstd0.5"),
    TimmAutoAugment(config_str="v0r", prob=0.5),
    AugMix(prob=1, aug_prob_coeff=1),
    AugMix(prob=1, aug_severity=10, mixture_depth=-1),
    RandomErasing(EPSILON=1),
    Cutout(length=16),
    Cutout(length=16, n_holes=3, fill_value=None),
    GridMask(d1=8, d2=24, rotate=45, prob=0.9),
    HideAndSeek(),
]


def name(op: Transform) -> str:
    return f"{type(op).__name__}-{getattr(op, 'config_str', '')}"


@pytest.mark.parametrize("op", RANDOM, ids=name)
def test_every_augmentation_is_a_function_of_image_and_generator(op: Transform) -> None:
    pixels = photo()
    before = pixels.copy()
    outs = [op(pixels, rng(seed)) for seed in range(40)]
    assert (pixels == before).all()
    for seed, out in enumerate(outs):
        assert (out.dtype, out.shape[2]) == (np.uint8, 3)
        assert (
            out.shape == (32, 32, 3) if isinstance(op, RandCropImage) else out.shape == (48, 64, 3)
        )
        np.testing.assert_array_equal(op(pixels, rng(seed)), out)
    assert len({out.tobytes() for out in outs}) >= (2 if isinstance(op, RandomGrayscale) else 5)
    flat = np.zeros((1, 1, 3), np.uint8)  # the smallest picture that there is
    assert op(flat, rng()).dtype == np.uint8


def test_erasing_fills_a_rectangle_of_the_stated_area_and_shape() -> None:
    op = RandomErasing(EPSILON=1, sl=0.1, sh="1.0/5.0", r1=0.5, mean=[10, 20, 30.4])
    areas, aspects = [], []
    for seed in range(200):
        hole = (op(WHITE, rng(seed)) != 255).any(axis=2)
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole[np.ix_(rows, columns)].all()
        assert (op(WHITE, rng(seed))[hole] == [10, 20, 30]).all()
        areas.append(hole.mean())
        aspects.append(len(rows) / len(columns))
    assert 0.09 < min(areas) < 0.115
    assert 0.185 < max(areas) < 0.21
    assert 0.45 < min(aspects) < 0.6
    assert 1.7 < max(aspects) < 2.2


def test_erasing_in_the_logarithm_is_as_often_wide_as_high() -> None:
    def high(**options: Any) -> int:
        op = RandomErasing(EPSILON=1, sl=0.02, sh=0.1, r1=0.2, **options)
        square = np.full((64, 64, 3), 255, np.uint8)
        holes = [(op(square, rng(seed)) != 255).any(axis=2) for seed in range(400)]
        return sum(hole.any(axis=1).sum() > hole.any(axis=0).sum() for hole in holes)

    assert 160 < high(use_log_aspect=True) < 220
    assert high() > 280


def test_erasing_happens_with_its_probability_and_only_where_it_fits() -> None:
    erased = [
        not (RandomErasing(EPSILON=0.25)(WHITE, rng(seed)) == 255).all() for seed in range(400)
    ]
    assert 70 < sum(erased) < 130
    # No rectangle of the whole image's area is smaller than the image.
    assert (RandomErasing(EPSILON=1, sl=1, sh=1)(WHITE, rng()) == 255).all()


def test_cutout_cuts_squares_of_its_length() -> None:
    for seed in range(100):
        hole = (Cutout(length=10)(WHITE, rng(seed)) == 0).all(axis=2)
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole[np.ix_(rows, columns)].all()
        at_edge = {0, 47} & {*rows} or {0, 63} & {*columns}
        assert (len(rows), len(columns)) == (10, 10) or at_edge
    coloured = Cutout(length=10, fill_value=[9, 8, 7])(WHITE, rng())
    assert {tuple(p) for p in coloured.reshape(-1, 3).tolist()} == {(255,) * 3, (9, 8, 7)}


@pytest.mark.parametrize(("mode", "share"), [(0, 0.25), (1, 0.75)])
def test_grid_masks_keep_the_stated_share(mode: int, share: float) -> None:
    image = np.full((96, 96, 3), 255, np.uint8)
    op = GridMask(d1=16, d2=17, ratio=0.5, mode=mode)
    for seed in range(10):
        shown = op(image, rng(seed))[..., 0] == 255
        assert shown.mean() == share  # six whole periods fit the picture
        np.testing.assert_array_equal(shown[:80], shown[16:])
        np.testing.assert_array_equal(shown[:, :80], shown[:, 16:])
        row = shown[shown.any(axis=1)][0] if mode == 0 else shown[~shown.all(axis=1)][0]
        assert row.sum() == 48
    third = GridMask(d1=12, d2=13, ratio="1/3")(image, rng())[..., 0] == 255
    assert third.mean() == pytest.approx((2 / 3) ** 2)
    turned = GridMask(d1=16, d2=17, rotate=90)(image, rng(1))[..., 0] == 255
    assert 0.2 < turned.mean() < 0.3
    kept = [(GridMask(d1=16, d2=17, prob=0.3)(image, rng(s)) == 255).all() for s in range(200)]
    assert 110 < sum(kept) < 170


def test_hide_and_seek_hides_half_of_the_squares() -> None:
    image = np.full((224, 224, 3), 255, np.uint8)
    sides, hidden = set[int](), []
    for seed in range(100):
        out = HideAndSeek()(image, rng(seed))[..., 0] == 0
        if not out.any():
            sides.add(0)
            continue
        side = max(  # squares of each size are also made of smaller ones
            s
            for s in (16, 32, 44, 56)
            if all(
                len(np.unique(out[y : y + s, x : x + s])) == 1
                for y in range(0, 224, s)
                for x in range(0, 224, s)
            )
        )
        sides.add(side)
        hidden.append(out.mean())
    assert sides == {0, 16, 32, 44, 56}
    assert 0.45 < np.mean(hidden) < 0.55


def test_rotation_turns_counter_clockwise_about_the_centre() -> None:
    square = photo(32, 32)
    quarter = RandomRotation(prob=1, degrees=[90, 90])
    np.testing.assert_array_equal(quarter(square, rng()), np.rot90(square))
    expanding = RandomRotation(prob=1, degrees=[90, 90], expand=True)
    np.testing.assert_array_equal(expanding(photo(), rng()), np.rot90(photo()))
    corner = RandomRotation(prob=1, degrees=[180, 180], center=[0, 0], fill=[1, 2, 3])(
        square, rng()
    )
    np.testing.assert_array_equal(corner[0, 0], square[0, 0])
    assert (corner[1:, 1:] == [1, 2, 3]).all()
    same = [(RandomRotation(degrees=20)(square, rng(s)) == square).all() for s in range(200)]
    assert 70 < sum(same) < 130
    diagonal = RandomRotation(prob=1, degrees=[45, 45], expand=True)(square, rng())
    assert diagonal.shape == (46, 46, 3)


def test_jitter_changes_what_it_is_told_to() -> None:
    gray = np.full((4, 4, 3), 100, np.uint8)
    dark = ColorJitter(brightness=[0.5, 0.5])(gray, rng())
    assert (dark == 50).all()
    assert (ColorJitter(contrast=0.9, saturation=0.9, hue=0.5)(gray, rng()) == 100).all()
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    cyan = ColorJitter(hue=[0.5, 0.5])(red, rng())[0, 0]
    np.testing.assert_allclose(cyan, [0, 255, 255], atol=4)  # 255 steps make the circle
    assert (ColorJitter(saturation=[0, 0])(red, rng()) == 76).all()
    assert (ColorJitter(prob=0, brightness=0.9)(red, rng()) == red).all()
    factors = [ColorJitter(brightness=0.4)(gray, rng(s))[0, 0, 0] / 100 for s in range(200)]
    assert 0.59 <= min(factors) < 0.65
    assert 1.35 < max(factors) <= 1.41


def test_grayscale_gives_the_luma() -> None:
    out = RandomGrayscale(p=1)(photo(), rng())
    luma = photo() @ np.array([0.299, 0.587, 0.114])
    assert np.abs(out - luma[..., None]).max() <= 0.51
    gray = [np.ptp(RandomGrayscale()(photo(), rng(s)), axis=2).max() == 0 for s in range(400)]
    assert 20 < sum(gray) < 65


def test_padding() -> None:
    out = Pad(padding=[1, 2, 3, 4], fill=[7, 8, 9])(photo(), rng())
    assert out.shape == (48 + 6, 64 + 4, 3)
    np.testing.assert_array_equal(out[2:-4, 1:-3], photo())
    assert (out[:2] == [7, 8, 9]).all()
    assert not Pad(padding=2)(WHITE, rng())[:, -2:].any()


def steps(op: autoaugment._Op, level: float) -> np.ndarray:
    """What an operation makes of the values 0 to 255."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    style = autoaugment._Style()
    return np.asarray(autoaugment._run(op, autoaugment._as_pillow(ramp), level, style, rng()))[
        0, :, 0
    ].astype(int)


VALUES = np.arange(256)


@pytest.mark.parametrize(
    ("table", "operation", "level", "expected"),
    [
        ("_RANDAUGMENT", "posterize", 0.5, VALUES & 0b11000000),
        ("_RANDAUGMENT", "posterize", 0.0, VALUES * 0),
        ("_TIMM_INCREASING", "posterize", 0.5, VALUES & 0b11000000),
        ("_TIMM_INCREASING", "posterize", 0.0, VALUES & 0b11110000),
        ("_AUTOAUGMENT", "posterize", 8 / 9, VALUES & 0b11110000),
        ("_AUTOAUGMENT", "posterize", 0.0, VALUES),
        ("_RANDAUGMENT", "solarize", 0.5, np.where(VALUES < 128, VALUES, 255 - VALUES)),
        ("_TIMM_INCREASING", "solarize", 0.25, np.where(VALUES < 192, VALUES, 255 - VALUES)),
        (
            "_TIMM",
            "solarize_add",
            1.0,
            np.where(VALUES < 128, np.minimum(VALUES + 110, 255), VALUES),
        ),
        ("_TIMM", "invert", 1.0, 255 - VALUES),
        ("_TIMM", "brightness", 0.5, VALUES),
        ("_RANDAUGMENT_V2", "brightness", 0.0, (VALUES * 0.1).astype(int)),
        ("_TIMM", "autocontrast", 0.5, VALUES),
    ],
)
def test_operations_have_the_published_strength(
    table: str, operation: str, level: float, expected: np.ndarray
) -> None:
    found = steps(getattr(autoaugment, table)[operation], level)
    assert np.abs(found - expected).max() <= (operation == "brightness")


def test_translations_are_in_the_published_units() -> None:
    image = photo(50, 100)

    def moved(table: dict, level: float, size: tuple[int, int]) -> set[int]:
        shifts = set()
        picture = autoaugment._as_pillow(image)
        for seed in range(10):
            out = np.asarray(
                autoaugment._run(
                    table["translate_x"], picture, level, autoaugment._Style((1, 2, 3)), rng(seed)
                )
            )
            filled = (out == [1, 2, 3]).all(axis=(0, 2))
            shifts.add(int(filled.sum()) * (1 if filled[0] else -1))
        return shifts

    assert moved(autoaugment._TIMM, 1.0, (50, 100)) == {45, -45}
    assert moved(autoaugment._RANDAUGMENT_V2, 0.3, (50, 100)) == {30, -30}
    assert moved(autoaugment._RANDAUGMENT, 1.0, (50, 100)) == {45, -45}


def test_augmix_lies_between_the_image_and_its_augmentations() -> None:
    assert (AugMix(prob=0)(photo(), rng()) == photo()).all()
    far = [np.abs(AugMix(prob=1)(photo(), rng(s)).astype(int) - photo()).mean() for s in range(60)]
    strong = [
        np.abs(AugMix(prob=1, aug_severity=10)(photo(), rng(s)).astype(int) - photo()).mean()
        for s in range(60)
    ]
    assert np.mean(far) < np.mean(strong)
    constant = np.full((20, 20, 3), 77, np.uint8)
    out = AugMix(prob=1, aug_prob_coeff=1000, mixture_width=1)(constant, rng(3))
    assert out.max() - out.min() <= 255


def test_pillow_and_opencv_resize_as_themselves() -> None:
    import cv2
    from PIL import Image

    picture = Image.fromarray(photo())
    for interpolation in ("box", "hamming", "lanczos", "nearest", None):
        given = {"interpolation": interpolation} if interpolation else {}
        op = ResizeImage(size=[20, 10], backend="PIL", **given)
        resample = getattr(Image.Resampling, (interpolation or "bicubic").upper())
        expected = np.asarray(picture.resize((20, 10), resample))
        np.testing.assert_array_equal(op(photo(), rng()), expected)
    np.testing.assert_array_equal(
        ResizeImage(size=[20, 10])(photo(), rng()),
        cv2.resize(photo(), (20, 10), interpolation=cv2.INTER_LINEAR),
    )


@pytest.mark.parametrize("use_log_aspect", [False, True])
def test_random_crops_have_the_stated_ratios(use_log_aspect: bool) -> None:
    # A picture whose pixels say where they are: a crop's sides can be read off its corners.
    where = np.zeros((200, 200, 3), np.uint8)
    where[..., 0], where[..., 1] = np.arange(200)[:, None], np.arange(200)
    op = RandCropImage(
        size=50, scale=[0.1, 0.1], ratio=[0.25, 4], use_log_aspect=use_log_aspect,
        interpolation="nearest",
    )  # fmt: skip
    generator, ratios = rng(), []
    for _ in range(400):
        out = op(where, generator)
        height, width = (out[-1, -1, :2].astype(float) - out[0, 0, :2]).tolist()
        ratios.append(width / height)
    assert 0.2 < min(ratios) < 0.5
    assert 3.5 < max(ratios) < 4.6
    wide = np.mean(np.array(ratios) > 1)
    assert abs(wide - (0.5 if use_log_aspect else 0.8)) < 0.06


# Operations after NormalizeImage ------------------------------------------------------------------

ERASERS = [
    RandomErasing(EPSILON=1),
    RandomErasing(EPSILON=1, mean=[0.5, -2.5, 3.25]),
    RandomErasing(EPSILON=1, mode="pixel", use_log_aspect=True, attempt=10),
    RandomErasing(EPSILON=1, mode="rand"),
    Cutout(length=16),
    GridMask(d1=8, d2=24),
    HideAndSeek(),
]


@pytest.mark.parametrize("op", ERASERS, ids=name)
@pytest.mark.parametrize("to_chw", [[], [ToCHWImage()]])
def test_what_follows_normalisation_works_on_normalised_numbers(
    op: Transform, to_chw: list
) -> None:
    pipeline = Pipeline([DecodeImage(), CropImage(size=[64, 48]), NORMALIZE, *to_chw, op])
    larger = np.pad(photo(), ((4, 4), (4, 4), (0, 0)))
    published = (photo() / 255 - np.array(NORMALIZE.mean)) / np.array(NORMALIZE.std)
    for seed in range(20):
        out = pipeline(larger, rng(seed))
        assert out.dtype == np.float32
        expected = op(published.astype(np.float32), rng(seed))
        # Pixels differ by 0.01 and more; rounding, fused or not, by less than 1e-6.
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-5)
        batch = pipeline.normalize(out[None])
        np.testing.assert_array_equal(batch[0], out.transpose(2, 0, 1))
    hidden = np.abs(out - published).max(axis=2) > 1e-5
    if getattr(op, "mode", 0) in ("pixel", "rand"):
        assert 0.5 < np.std(out[hidden]) < 2 or op.mode == "rand"
    elif isinstance(op, (Cutout, GridMask)):
        assert (out[hidden] == 0).all()
        np.testing.assert_allclose(
            pipeline.to_pixels(batch)[0][hidden][0], np.array(NORMALIZE.mean) * 255, atol=0.51
        )


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([RandomErasing(mode="pixel"), NORMALIZE], "put it after NormalizeImage"),
        ([RandomErasing(mean=[-1, 0, 0]), NORMALIZE], "not a colour of 0 to 255"),
        ([NORMALIZE, Cutout(fill_value=[1, 1, 1])], "put Cutout before NormalizeImage"),
        ([NORMALIZE, RandAugment()], "RandAugment cannot follow NormalizeImage"),
        ([NORMALIZE, GridMask(), ColorJitter()], "ColorJitter cannot follow NormalizeImage"),
        ([NORMALIZE, GridMask(), NORMALIZE.model_copy()], "duplicate NormalizeImage"),
    ],
)
def test_operations_in_the_wrong_place_are_named(ops: list, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pipeline([DecodeImage(), *ops])


@pytest.mark.parametrize(
    "options",
    [
        {"scale": "1.0/255.0"},
        {"scale": 1 / 255, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "order": ""},
        {"scale": 1 / 255, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
        {"mean": [0.5071, 0.4867, 0.4408], "std": [0.2675, 0.2565, 0.2761]},
    ],
)
def test_folded_normalisation_equals_the_published_order(options: dict) -> None:
    op = NormalizeImage(**options)
    ramp = np.repeat(VALUES.astype(np.uint8)[None, :, None], 3, axis=2)
    published = (ramp.astype("float32") * np.float32(op.scale) - np.float32(op.mean)) / np.float32(
        op.std
    )
    exact = (ramp * op.scale - np.array(op.mean)) / np.array(op.std)
    for ops in ([op], [op, ToCHWImage()], [ToCHWImage(), op]):
        pipeline = Pipeline([DecodeImage(), *ops])
        batch = pipeline.normalize(pipeline(ramp, rng())[None])[0].transpose(1, 2, 0)
        np.testing.assert_allclose(batch, published, rtol=0, atol=1e-5)
        np.testing.assert_allclose(batch, exact, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(pipeline.to_pixels(batch.transpose(2, 0, 1)[None])[0], ramp)


# Options ------------------------------------------------------------------------------------------

PUBLISHED = [
    {"AutoAugment": None},
    {"RandAugment": {"num_layers": 2, "magnitude": 5}},
    {
        "TimmAutoAugment": {
            "config_str": "rand-m9-mstd0.5-inc1", "interpolation": "bicubic", "img_size": 224
        }
    },
    {"Cutout": {"n_holes": 1, "length": 112}},
    {
        "RandomErasing": {
            "EPSILON": 0.25, "sl": 0.02, "sh": "1.0/3.0", "r1": 0.3, "attempt": 10,
            "use_log_aspect": True, "mode": "pixel",
        }
    },
    {"HideAndSeek": None},
    {"GridMask": {"d1": 96, "d2": 224, "rotate": 1, "ratio": 0.5, "mode": 0}},
    {"AugMix": {"prob": 0.5}},
    {"ColorJitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.4}},
    {"RandCropImage": {"size": 224, "interpolation": "bicubic", "backend": "pil"}},
    {
        "ResizeImage": {
            "resize_short": 256, "interpolation": "bicubic", "backend": "pil", "return_numpy": True
        }
    },
    {"NormalizeImage": {"scale": "1.0/255.0", "order": "hwc", "channel_num": 3}},
    {"DecodeImage": {"to_rgb": True, "to_np": True, "channel_first": False}},
    {"RandomRotation": {"prob": 0.5, "degrees": 30, "interpolation": "bilinear"}},
    {"Pad": {"padding": 10}},
]  # fmt: skip

MISTAKES = [
    ({"RandomErasing": {"EPSILON": 1.5}}, "less than or equal to 1"),
    ({"RandomErasing": {"sl": 0.5, "sh": 0.4}}, "sl (0.5) is above sh (0.4)"),
    ({"RandomErasing": {"r1": 0}}, "greater than 0"),
    ({"RandomErasing": {"mode": "pixels"}}, "'const', 'rand' or 'pixel'"),
    ({"RandomErasing": {"mode": "pixel", "mean": [1.0, 1.0, 1.0]}}, "mean needs mode const"),
    ({"GridMask": {"d1": 224, "d2": 96}}, "d1 (224) must be below d2 (96)"),
    ({"GridMask": {"ratio": 1}}, "less than 1"),
    ({"AugMix": {"mixture_depth": 0}}, "greater than 0"),
    ({"RandAugment": {"magnitude": 50}}, "less than or equal to 20"),
    ({"RandAugmentV2": {"progress_magnitude": [5, 10]}}, "training does not proceed"),
    ({"ColorJitter": {"hue": 0.6}}, "less than or equal to 0.5"),
    ({"ColorJitter": {"contrast": [1.2, 0.8]}}, "contrast must be [least, most]"),
    ({"RandomGrayscale": {"p": -0.1}}, "greater than or equal to 0"),
    ({"RandomRotation": {"degrees": [30, -30]}}, "degrees must be [least, most]"),
    (
        {"RandomRotation": {"degrees": 9, "expand": True, "center": [1, 1]}},
        "only one of expand and center",
    ),
    ({"Pad": {"padding": 10, "padding_mode": "edge"}}, "expected 'constant', not 'edge'"),
    ({"DecodeImage": {"backend": "pil"}}, "there is only one decoder"),
    ({"ResizeImage": {"size": 9, "interpolation": "box"}}, "backend cv2 interpolates by nearest"),
    (
        {"ResizeImage": {"size": 9, "backend": "pil", "interpolation": "area"}},
        "interpolates by nearest, bilinear, bicubic, box, lanczos, hamming, not by area",
    ),
    ({"ResizeImage": {"size": 9, "backend": "skimage"}}, "Input should be 'cv2' or 'pil'"),
    ({"NormalizeImage": {"channel_num": 4}}, "expected 3, not 4"),
    ({"NormalizeImage": {"output_fp16": True}}, "expected False, not True"),
    ({"TimmAutoAugment": {"config_str": "randm9"}}, "policy 'randm9' is not one of rand, augmix"),
    (
        {"TimmAutoAugment": {"config_str": "rand-x9"}},
        "'x9' in 'rand-x9' is not one of m, n, w, inc",
    ),
    ({"TimmAutoAugment": {"config_str": "rand-m11"}}, "expected a number from 0 to 10"),
    ({"TimmAutoAugment": {"config_str": "rand-n0"}}, "expected an integer from 1 to 13"),
    ({"TimmAutoAugment": {"config_str": "v0-m9"}}, "is not one of mstd with a number"),
    ({"TimmAutoAugment": {"interpolation": "hamming"}}, "'bilinear', 'bicubic' or 'random'"),
    ({"TimmAutoAugment": {"prob": 2}}, "less than or equal to 1"),
]


@pytest.mark.parametrize("entry", PUBLISHED, ids=lambda entry: next(iter(entry)))
def test_published_options_are_read(entry: dict) -> None:
    op = TypeAdapter(TransformOp).validate_python(entry)
    assert TypeAdapter(TransformOp).validate_python(op.model_dump()) == op


@pytest.mark.parametrize(("entry", "message"), MISTAKES)
def test_options_out_of_range_are_named(entry: dict, message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(TransformOp).validate_python(entry)
    assert message in str(raised.value)


def test_published_defaults() -> None:
    assert RandomErasing().model_dump()["RandomErasing"] == {
        "EPSILON": 0.5, "sl": 0.02, "sh": 0.4, "r1": 0.3, "mean": [0.0, 0.0, 0.0], "attempt": 100,
        "use_log_aspect": False, "mode": "const",
    }  # fmt: skip
    assert GridMask().model_dump()["GridMask"] == {
        "d1": 96, "d2": 224, "rotate": 1, "ratio": 0.5, "mode": 0, "prob": 1.0
    }  # fmt: skip
    assert AugMix().model_dump()["AugMix"] == {
        "prob": 0.5, "aug_prob_coeff": 0.1, "mixture_width": 3, "mixture_depth": 1,
        "aug_severity": 1.0,
    }  # fmt: skip
    assert RandAugment().model_dump()["RandAugment"] == {
        "num_layers": 2, "magnitude": 5.0, "fillcolor": [128, 128, 128]
    }  # fmt: skip


@pytest.mark.parametrize("workers", [1, 3])
def test_augmented_batches_are_the_same_with_any_number_of_workers(
    colours: Path, workers: int
) -> None:
    samples = [Sample(str(path), 0) for path in sorted(colours.rglob("*.PNG"))]
    ops = [DecodeImage(), ResizeImage(size=[64, 48]), *RANDOM[1:], NORMALIZE, ERASERS[2]]

    def epoch(workers: int) -> list[np.ndarray]:
        sampler = RASampler(name="RASampler", batch_size=8, shuffle=True, selected_round=0)
        with Loader(ImageDataset(samples, Pipeline(ops), seed=5), sampler, workers) as loader:
            return [batch.images for batch in loader.epoch(1)]

    for ours, reference in zip(epoch(workers), epoch(0), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, reference)


def test_a_published_training_list_runs_as_it_is(colours: Path) -> None:
    normalize = {
        "scale": "1.0/255.0", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        "order": "",
    }  # fmt: skip
    entries = [  # of Swin and DeiT
        {"DecodeImage": {"to_rgb": True, "channel_first": False}},
        {"RandCropImage": {"size": 224, "interpolation": "bicubic", "backend": "pil"}},
        {"RandFlipImage": {"flip_code": 1}},
        PUBLISHED[2],
        {"NormalizeImage": normalize},
        PUBLISHED[4],
    ]
    pipeline = Pipeline(TypeAdapter(list[TransformOp]).validate_python(entries))
    path = next(colours.rglob("*.PNG"))
    images = [pipeline(str(path), rng(seed)) for seed in range(30)]
    assert {(image.dtype, image.shape) for image in images} == {(np.dtype("f4"), (224, 224, 3))}
    # What is erased goes beyond the range of pixels, which is -2.12 to 2.64.
    erased = sum(np.abs(image).max() > 3 for image in images)
    assert 2 <= erased <= 15


@pytest.mark.parametrize(
    ("image_size", "shape", "resized"),
    [((224, 224), (300, 400), (256, 341)), ((32, 128), (64, 256), (36, 146))],
)
def test_transforms_without_a_size_follow_the_image_size(image_size, shape, resized) -> None:
    resize = ResizeImage().sized(*image_size)
    image = np.zeros((*shape, 3), np.uint8)
    assert resize(image, rng()).shape[:2] == resized
    for crop in (CropImage(), RandCropImage()):
        assert crop.follows_image_size
        assert crop.sized(*image_size)(image, rng()).shape[:2] == image_size
    assert ResizeImage(keep_ratio=False).sized(*image_size)(image, rng()).shape[:2] == image_size
    own = CropImage(size=[50, 40])
    assert own.sized(*image_size) is own
    ops = [DecodeImage(), ResizeImage(), CropImage()]
    assert Pipeline(ops, image_size).output_shape(500, 600) == [3, *image_size]
    with pytest.raises(ConfigError, match="ResizeImage needs a size"):
        Pipeline(ops)


@pytest.mark.parametrize("option", [{"resize_short": 256}, {"cover": [256, 300]}])
def test_a_long_and_narrow_image_is_not_resized_to_all_of_memory(
    option: dict, tmp_path: Path
) -> None:
    path = tmp_path / "line.png"
    Image.new("RGB", (60_000, 1)).save(path)
    pipeline = Pipeline([DecodeImage(), ResizeImage(**option), CropImage(size=224)])
    with pytest.raises(ImageError, match=r"line\.png: 60000x1 is too long and narrow: resized"):
        pipeline(path, np.random.default_rng(0))
    (found,) = Classifier(None, pipeline, ["a"]).predict(path)  # type: ignore[arg-type]
    assert "line.png: 60000x1 is too long" in found.error


def test_an_array_has_the_limit_of_pixels_of_a_file() -> None:
    # It takes one byte, whatever its shape.
    huge = np.broadcast_to(np.zeros(1, np.uint8), (100_000, 100_000, 3))
    with pytest.raises(ImageError, match="the array: too many pixels: 100000x100000"):
        image.read(huge)
