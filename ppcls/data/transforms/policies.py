"""Augmentation policies: random sequences of Pillow's simple operations.

A policy names operations and the strength of each at a level from 0 to 1. The published policies
differ in these strengths, and in the operations that grow stronger with the level.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from pydantic import Field, field_validator

from ppcls.data.transforms.base import TRANSFORMS, Probability, Transform

__all__ = ["AugMix", "AutoAugment", "RandAugment", "RandAugmentV2", "TimmAutoAugment"]

Picture = Image.Image
Colour = Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]
"""Red, green and blue, 0 to 255."""
Rng = np.random.Generator
_NEAREST, _BILINEAR = Image.Resampling.NEAREST, Image.Resampling.BILINEAR
_BICUBIC = Image.Resampling.BICUBIC


class _Style(NamedTuple):
    """The colour of uncovered pixels, and the interpolations to draw from."""

    fill: tuple[int, ...] = (0, 0, 0)
    resample: tuple[Image.Resampling, ...] = (_NEAREST,)


# The operations: functions of an image, a strength, a fill and an interpolation.


def _affine(
    picture: Picture, matrix: tuple[float, ...], fill: tuple[int, ...], resample: Image.Resampling
) -> Picture:
    return picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, resample=resample, fillcolor=fill
    )


def _shear_x(picture: Picture, slope: float, *how: Any) -> Picture:
    return _affine(picture, (1, slope, 0, 0, 1, 0), *how)


def _shear_y(picture: Picture, slope: float, *how: Any) -> Picture:
    return _affine(picture, (1, 0, 0, slope, 1, 0), *how)


def _translate_x(picture: Picture, share: float, *how: Any) -> Picture:
    return _affine(picture, (1, 0, share * picture.width, 0, 1, 0), *how)


def _translate_y(picture: Picture, share: float, *how: Any) -> Picture:
    return _affine(picture, (1, 0, 0, 0, 1, share * picture.height), *how)


def _translate_x_pixels(picture: Picture, pixels: float, *how: Any) -> Picture:
    return _affine(picture, (1, 0, pixels, 0, 1, 0), *how)


def _translate_y_pixels(picture: Picture, pixels: float, *how: Any) -> Picture:
    return _affine(picture, (1, 0, 0, 0, 1, pixels), *how)


def _rotate(
    picture: Picture, degrees: float, fill: tuple[int, ...], resample: Image.Resampling
) -> Picture:
    return picture.rotate(degrees, resample=resample, fillcolor=fill)


def _autocontrast(picture: Picture, *_: Any) -> Picture:
    return ImageOps.autocontrast(picture)


def _equalize(picture: Picture, *_: Any) -> Picture:
    return ImageOps.equalize(picture)


def _invert(picture: Picture, *_: Any) -> Picture:
    return ImageOps.invert(picture)


def _posterize(picture: Picture, bits: float, *_: Any) -> Picture:
    """Keep the highest bits of each channel; 0 bits are black."""
    return picture.point([value & 256 - (256 >> int(bits)) for value in range(256)] * 3)


def _solarize(picture: Picture, threshold: float, *_: Any) -> Picture:
    return ImageOps.solarize(picture, threshold)  # type: ignore[arg-type]


def _solarize_add(picture: Picture, amount: float, *_: Any) -> Picture:
    """Add `amount` to values below 128."""
    values = [min(255, v + int(amount)) if v < 128 else v for v in range(256)]
    return picture.point(values * 3)


def _enhance(
    enhancer: Callable[[Picture], ImageEnhance._Enhance], picture: Picture, factor: float, *_: Any
) -> Picture:
    return enhancer(picture).enhance(factor)


_color = partial(_enhance, ImageEnhance.Color)
_contrast = partial(_enhance, ImageEnhance.Contrast)
_brightness = partial(_enhance, ImageEnhance.Brightness)
_sharpness = partial(_enhance, ImageEnhance.Sharpness)


# The strengths: they turn a level, 0 to 1, and a random sign into an operation's argument.

Strength = Callable[[float, Rng], float]


def _signed(most: float) -> Strength:
    return lambda level, rng: most * level * rng.choice((-1, 1))


def _around_one(most: float) -> Strength:
    return lambda level, rng: 1 + most * level * rng.choice((-1, 1))


def _linear(start: float, end: float) -> Strength:
    return lambda level, rng: start + (end - start) * level


def _whole(start: int, end: int) -> Strength:
    """From start to end in integers, rounded towards the start."""
    return lambda level, rng: start + int((end - start) * level)


def _none(level: float, rng: Rng) -> float:
    return 0.0


class _Op(NamedTuple):
    apply: Callable[..., Picture]
    strength: Strength = _none
    resample: Image.Resampling | None = None
    """Overrides the policy's own."""


def _run(op: _Op, picture: Picture, level: float, style: _Style, rng: Rng) -> Picture:
    resample = op.resample
    if resample is None:
        resample = style.resample[0 if len(style.resample) == 1 else int(rng.integers(2))]
    return op.apply(picture, op.strength(level, rng), style.fill, resample)


_FLAT = {
    "autocontrast": _Op(_autocontrast),
    "equalize": _Op(_equalize),
    "invert": _Op(_invert),
}


def _enhancing(strength: Strength) -> dict[str, _Op]:
    return {
        "color": _Op(_color, strength),
        "contrast": _Op(_contrast, strength),
        "brightness": _Op(_brightness, strength),
        "sharpness": _Op(_sharpness, strength),
    }


# AutoAugment --------------------------------------------------------------------------------------

Step = tuple[str, float, int]
"""An operation, its probability, and its magnitude from 0 to 10."""

_ORIGINAL: tuple[tuple[Step, Step], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 4), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 7)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 2)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 8), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 2)),
    (("equalize", 0.0, 7), ("equalize", 0.8, 8)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 9)),
    (("color", 0.4, 0), ("equalize", 0.6, 3)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
)
"""The policy for ImageNet of https://arxiv.org/abs/1805.09501."""

_V0: tuple[tuple[Step, Step], ...] = (
    (("equalize", 0.8, 1), ("shear_y", 0.8, 4)),
    (("color", 0.4, 9), ("equalize", 0.6, 3)),
    (("color", 0.4, 1), ("rotate", 0.6, 8)),
    (("solarize", 0.8, 3), ("equalize", 0.4, 7)),
    (("solarize", 0.4, 2), ("solarize", 0.6, 2)),
    (("color", 0.2, 0), ("equalize", 0.8, 8)),
    (("equalize", 0.4, 8), ("solarize_add", 0.8, 3)),
    (("shear_x", 0.2, 9), ("rotate", 0.6, 8)),
    (("color", 0.6, 1), ("equalize", 1.0, 2)),
    (("invert", 0.4, 9), ("rotate", 0.6, 0)),
    (("equalize", 1.0, 9), ("shear_y", 0.6, 3)),
    (("color", 0.4, 7), ("equalize", 0.6, 0)),
    (("posterize", 0.4, 6), ("autocontrast", 0.4, 7)),
    (("solarize", 0.6, 8), ("color", 0.6, 9)),
    (("solarize", 0.2, 4), ("rotate", 0.8, 9)),
    (("rotate", 1.0, 7), ("translate_y", 0.8, 9)),
    (("shear_x", 0.0, 0), ("solarize", 0.8, 4)),
    (("shear_y", 0.8, 0), ("color", 0.6, 4)),
    (("color", 1.0, 0), ("rotate", 0.6, 2)),
    (("equalize", 0.8, 4), ("equalize", 0.0, 8)),
    (("equalize", 1.0, 4), ("autocontrast", 0.6, 2)),
    (("shear_y", 0.4, 7), ("solarize_add", 0.6, 7)),
    (("posterize", 0.8, 2), ("solarize", 0.6, 10)),
    (("solarize", 0.6, 8), ("equalize", 0.6, 1)),
    (("color", 0.8, 6), ("rotate", 0.4, 5)),
)
"""The policy of the EfficientNet code for TPUs."""

_AUTOAUGMENT = {
    **_FLAT,
    **_enhancing(_around_one(0.9)),
    "shear_x": _Op(_shear_x, _signed(0.3), _BICUBIC),
    "rotate": _Op(_rotate, _linear(0, 30)),
    "posterize": _Op(_posterize, lambda level, rng: round(8 - 4 * level)),
    "solarize": _Op(_solarize, _linear(256, 0)),
}


def _as_pillow(image: np.ndarray) -> Picture:
    return Image.fromarray(np.ascontiguousarray(image))


@TRANSFORMS.register
class AutoAugment(Transform):
    """Apply one of the 25 pairs of operations that the paper found best on ImageNet.

    `fillcolor` fills the pixels that a shift or rotation uncovers.
    https://arxiv.org/abs/1805.09501
    """

    random: ClassVar[bool] = True
    needs_colour: ClassVar[bool] = True

    fillcolor: Colour = [128, 128, 128]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), augmented."""
        picture, style = _as_pillow(image), _Style(tuple(self.fillcolor))
        for name, probability, magnitude in _ORIGINAL[int(rng.integers(len(_ORIGINAL)))]:
            if rng.random() < probability:
                picture = _run(_AUTOAUGMENT[name], picture, magnitude / 9, style, rng)
        return np.array(picture)


# RandAugment --------------------------------------------------------------------------------------

_RANDAUGMENT = {
    **_FLAT,
    **_enhancing(_around_one(0.9)),
    "shear_x": _Op(_shear_x, _signed(0.3), _BICUBIC),
    "shear_y": _Op(_shear_y, _signed(0.3), _BICUBIC),
    "translate_x": _Op(_translate_x, _signed(150 / 331)),
    "translate_y": _Op(_translate_y, _signed(150 / 331)),
    "rotate": _Op(_rotate, _linear(0, 30)),
    "posterize": _Op(_posterize, _whole(0, 4)),
    "solarize": _Op(_solarize, _linear(0, 256)),
}

_RANDAUGMENT_V2 = {
    **_FLAT,
    **_enhancing(_linear(0.1, 1.9)),
    "shear_x": _Op(_shear_x, _signed(0.3)),
    "shear_y": _Op(_shear_y, _signed(0.3)),
    "translate_x": _Op(_translate_x_pixels, _signed(100)),
    "translate_y": _Op(_translate_y_pixels, _signed(100)),
    "rotate": _Op(_rotate, _signed(30)),
    "posterize": _Op(_posterize, _whole(0, 4)),
    "solarize": _Op(_solarize, _whole(0, 256)),
    "solarize_add": _Op(_solarize_add, _whole(0, 110)),
}


@TRANSFORMS.register
class RandAugment(Transform):
    """Apply `num_layers` operations, each drawn from 14, with a strength of `magnitude` out of 10.

    Posterize and solarize are stronger at a lower magnitude. `fillcolor` fills the pixels that a
    shift or rotation uncovers. https://arxiv.org/abs/1909.13719
    """

    random: ClassVar[bool] = True
    needs_colour: ClassVar[bool] = True

    num_layers: Annotated[int, Field(gt=0, le=20)] = 2
    magnitude: Annotated[float, Field(ge=0, le=20)] = 5
    fillcolor: Colour = [128, 128, 128]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), augmented."""
        picture = _as_pillow(image)
        for _ in range(self.num_layers):
            picture = self._layer(picture, rng)
        return np.array(picture)

    def _layer(self, picture: Picture, rng: Rng) -> Picture:
        op = _RANDAUGMENT[str(rng.choice(list(_RANDAUGMENT)))]
        return _run(op, picture, self.magnitude / 10, _Style(tuple(self.fillcolor)), rng)


@TRANSFORMS.register
class RandAugmentV2(RandAugment):
    """The variant of `RandAugment` for EfficientNetV2: 16 operations, with other strengths.

    Translations are in pixels. The two additional operations brighten dark pixels and cut out a
    square. https://arxiv.org/abs/2104.00298
    """

    def _layer(self, picture: Picture, rng: Rng) -> Picture:
        name = str(rng.choice([*_RANDAUGMENT_V2, "cutout"]))
        level, fill = self.magnitude / 10, tuple(self.fillcolor)
        if name == "cutout":
            half = int(40 * level)
            y, x = rng.integers(picture.height + 1), rng.integers(picture.width + 1)
            pixels = np.array(picture)
            pixels[max(0, y - half) : y + half, max(0, x - half) : x + half] = fill
            return Image.fromarray(pixels)
        return _run(_RANDAUGMENT_V2[name], picture, level, _Style(fill), rng)


# timm's policies ----------------------------------------------------------------------------------


def _timm(
    posterize: Strength, solarize: Strength, enhance: Strength, translate: float
) -> dict[str, _Op]:
    return {
        **_FLAT,
        "rotate": _Op(_rotate, _signed(30)),
        "posterize": _Op(_posterize, posterize),
        "solarize": _Op(_solarize, solarize),
        "solarize_add": _Op(_solarize_add, _whole(0, 110)),
        **_enhancing(enhance),
        "shear_x": _Op(_shear_x, _signed(0.3)),
        "shear_y": _Op(_shear_y, _signed(0.3)),
        "translate_x": _Op(_translate_x, _signed(translate)),
        "translate_y": _Op(_translate_y, _signed(translate)),
    }


_TIMM = _timm(_whole(0, 4), _whole(0, 256), _linear(0.1, 1.9), 0.45)
_TIMM_INCREASING = _timm(_whole(4, 0), _whole(256, 0), _around_one(0.9), 0.45)
_TIMM_AUGMIX = {
    name: op
    for name, op in _timm(_whole(4, 0), _whole(256, 0), _around_one(0.9), 0.3).items()
    if name not in ("invert", "solarize_add")
}
_TIMM_FIXED = {
    "original": (_ORIGINAL, {**_TIMM, "posterize": _Op(_posterize, _whole(4, 8))}),
    "originalr": (_ORIGINAL, {**_TIMM, "posterize": _Op(_posterize, _whole(4, 0))}),
    "v0": (_V0, _TIMM),
    "v0r": (_V0, {**_TIMM, "posterize": _Op(_posterize, _whole(4, 0))}),
}

_TIMM_WEIGHTS = {
    "rotate": 0.3,
    "shear_x": 0.2,
    "shear_y": 0.2,
    "translate_x": 0.1,
    "translate_y": 0.1,
    "color": 0.025,
    "sharpness": 0.025,
    "autocontrast": 0.025,
    "solarize": 0.005,
    "solarize_add": 0.005,
    "contrast": 0.005,
    "brightness": 0.005,
    "equalize": 0.005,
}
"""The weights of `w0`, before scaling to a sum of one; the other operations have none."""

_RAND_SECTIONS = {"m": (10.0, 0, 10), "n": (2, 1, 13), "w": (None, 0, 0), "inc": (0, 0, 1)}
_AUGMIX_SECTIONS = {"m": (3.0, 0, 10), "w": (3, 1, 20), "d": (-1, 1, 20), "a": (1.0, 1e-3, 100)}
_TIMM_SECTIONS: dict[str, dict[str, tuple[float | None, float, float]]] = {
    "rand": {**_RAND_SECTIONS, "mstd": (0.0, 0, 10)},
    "augmix": {**_AUGMIX_SECTIONS, "mstd": (0.0, 0, 10)},
    **{name: {"mstd": (0.0, 0, 10)} for name in _TIMM_FIXED},
}
"""The sections of each policy: default, minimum and maximum. Integers stay integers."""


@cache
def _parse_timm(text: str) -> tuple[str, dict[str, Any]]:
    """Return the policy of a `config_str` and the values of its sections.

    Raises:
        ValueError: a part of it is unknown or out of range.
    """
    policy, *sections = text.split("-")
    if policy not in _TIMM_SECTIONS:
        raise ValueError(f"the policy {policy!r} is not one of {', '.join(_TIMM_SECTIONS)}")
    known = _TIMM_SECTIONS[policy]
    values: dict[str, Any] = {name: default for name, (default, _, _) in known.items()}
    for section in sections:
        match = re.fullmatch(r"([a-z]+)(\d+(?:\.\d+)?)", section)
        if not match or match[1] not in known:
            raise ValueError(
                f"{section!r} in {text!r} is not one of {', '.join(known)} with a number after it, "
                "such as m9"
            )
        default, least, most = known[match[1]]
        number = float(match[2])
        if not least <= number <= most or (not isinstance(default, float) and number % 1):
            kind = "a number" if isinstance(default, float) else "an integer"
            raise ValueError(f"{section!r} in {text!r}: expected {kind} from {least:g} to {most:g}")
        values[match[1]] = number if isinstance(default, float) else int(number)
    return policy, values


@TRANSFORMS.register
class TimmAutoAugment(Transform):
    """A policy in timm's notation, with the probability `prob`.

    `config_str` joins a policy and its sections with dashes: `rand-m9-mstd0.5-inc1`.

    - `rand`: `n` operations (2), each with probability 0.5 and the magnitude `m` (10, out of 10)
      plus normal noise of `mstd` (0). `inc1`: all grow stronger with the magnitude. `w0`: draw the
      operations without repetition by a fixed set of weights.
    - `augmix`: `w` chains (3) of `d` operations (1 to 3) of magnitude `m` (3), mixed with weights
      from Dirichlet(`a`) and then with the image by Beta(`a`, `a`) (1).
    - `original`, `v0`: AutoAugment; with the suffix `r`, posterize grows with the magnitude.

    `interpolation: random` draws one of two; `mean` is the colour, 0 to 1, of uncovered pixels.
    Translations are relative to the image size.
    https://github.com/huggingface/pytorch-image-models
    """

    random: ClassVar[bool] = True
    needs_colour: ClassVar[bool] = True

    prob: Probability = 1.0
    config_str: str = "rand-m9-mstd0.5-inc1"
    interpolation: Literal["bilinear", "bicubic", "random"] = "bicubic"
    mean: Annotated[list[Probability], Field(min_length=3, max_length=3)] = [0.485, 0.456, 0.406]

    @field_validator("config_str")
    @classmethod
    def _parses(cls, text: str) -> str:
        _parse_timm(text)
        return text

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), augmented or not."""
        if rng.random() >= self.prob:
            return image
        policy, values = _parse_timm(self.config_str)
        choices = {"bilinear": (_BILINEAR,), "bicubic": (_BICUBIC,)}
        style = _Style(
            tuple(round(255 * value) for value in self.mean),
            choices.get(self.interpolation, (_BILINEAR, _BICUBIC)),
        )

        def run(op: _Op, picture: Picture, magnitude: float) -> Picture:
            if values["mstd"]:
                magnitude = float(np.clip(rng.normal(magnitude, values["mstd"]), 0, 10))
            return _run(op, picture, magnitude / 10, style, rng)

        picture = _as_pillow(image)
        if policy == "augmix":
            ops = list(_TIMM_AUGMIX.values())

            def augment(picture: Picture) -> Picture:
                return run(ops[rng.integers(len(ops))], picture, values["m"])

            return _augmix(image, values["a"], values["w"], values["d"], augment, rng)
        if policy == "rand":
            table = _TIMM_INCREASING if values["inc"] else _TIMM
            if values["w"] is None:
                names = rng.choice(list(table), values["n"])
            else:
                weights = np.array(list(_TIMM_WEIGHTS.values()))
                names = rng.choice(
                    list(_TIMM_WEIGHTS), values["n"], replace=False, p=weights / weights.sum()
                )
            steps: Sequence[tuple[str, float, float]] = [(n, 0.5, values["m"]) for n in names]
        else:
            pairs, table = _TIMM_FIXED[policy]
            steps = pairs[int(rng.integers(len(pairs)))]
        for name, probability, magnitude in steps:
            if rng.random() < probability:
                picture = run(table[name], picture, magnitude)
        return np.array(picture)


# AugMix -------------------------------------------------------------------------------------------

_AUGMIX = {
    "autocontrast": _Op(_autocontrast),
    "equalize": _Op(_equalize),
    "posterize": _Op(_posterize, _whole(4, 0)),
    "rotate": _Op(_rotate, lambda level, rng: int(30 * level) * rng.choice((-1, 1))),
    "solarize": _Op(_solarize, _whole(256, 0)),
    "shear_x": _Op(_shear_x, _signed(0.3)),
    "shear_y": _Op(_shear_y, _signed(0.3)),
    "translate_x": _Op(_translate_x, _signed(1 / 3)),
    "translate_y": _Op(_translate_y, _signed(1 / 3)),
}


def _augmix(
    image: np.ndarray,
    alpha: float,
    width: int,
    depth: int,
    augment: Callable[[Picture], Picture],
    rng: Rng,
) -> np.ndarray:
    """Mix `width` chains of `depth` (-1: 1 to 3) augmentations, and the mixture with the image."""
    weights, share = rng.dirichlet([alpha] * width), rng.beta(alpha, alpha)
    mixed = np.float32(1 - share) * image
    for weight in weights:
        picture = _as_pillow(image)
        for _ in range(depth if depth > 0 else int(rng.integers(1, 4))):
            picture = augment(picture)
        mixed += np.float32(share * weight) * np.asarray(picture)
    return np.rint(mixed).clip(0, 255).astype(np.uint8)


@TRANSFORMS.register
class AugMix(Transform):
    """Mix an image with chains of augmentations of itself, with the probability `prob`.

    `mixture_width` chains of `mixture_depth` operations (-1: 1 to 3 at random) are mixed with
    weights from Dirichlet(`aug_prob_coeff`), and their mixture with the image by a share from
    Beta(`aug_prob_coeff`, `aug_prob_coeff`). The strength of an operation is drawn up to
    `aug_severity` out of 10. https://arxiv.org/abs/1912.02781
    """

    random: ClassVar[bool] = True
    needs_colour: ClassVar[bool] = True

    prob: Probability = 0.5
    aug_prob_coeff: Annotated[float, Field(ge=1e-3)] = 0.1
    mixture_width: Annotated[int, Field(gt=0, le=20)] = 3
    mixture_depth: Literal[-1] | Annotated[int, Field(gt=0, le=20)] = 1
    aug_severity: Annotated[float, Field(ge=0.1, le=10)] = 1

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the image, uint8 (H, W, 3), mixed or not."""
        if rng.random() >= self.prob:
            return image
        ops, style = list(_AUGMIX.values()), _Style(resample=(_BILINEAR,))

        def augment(picture: Picture) -> Picture:
            level = rng.uniform(0.1, self.aug_severity) / 10
            return _run(ops[rng.integers(len(ops))], picture, level, style, rng)

        return _augmix(
            image, self.aug_prob_coeff, self.mixture_width, self.mixture_depth, augment, rng
        )
