"""From the samples of a decoded image to 8-bit RGB: bit depths, palettes, transparency, modes."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

__all__ = ["Tone", "Unreadable", "to_rgb", "tone_of"]

_BAND = 2**20


class Unreadable(Exception):
    """An image that is not decoded, or cannot be shown as RGB; the text says why."""


class Tone:
    """Maps the samples of an image to 0 to 255: `(sample - low) * 255 / (high - low)`."""

    def __init__(self, low: float, high: float, transparent: Any = None):
        self.low = low
        self.high = high
        self.transparent = transparent

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Return samples as uint8, rounded."""
        scaled = (samples.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        return np.rint(scaled).astype(np.uint8)


def tone_of(image: Image.Image, png_bits: int) -> Tone:
    """Return the range of the image's samples, and which sample value is transparent."""
    transparent = image.info.get("transparency") if image.mode != "P" else None
    low, high = 0.0, 255.0
    if image.mode.startswith("I;16"):
        high = 65535.0
        tags = getattr(image, "tag_v2", {})  # TIFF's, numbered as in TIFF 6.0
        if tags.get(258) == (12,):  # BitsPerSample
            high = 4095.0
        if tags.get(262) == 0:  # PhotometricInterpretation: white is zero
            low, high = high, low
    elif image.mode == "I" and image.format == "PPM":
        high = 65535.0  # Pillow scales the file's maximum to this value
    elif image.mode in ("I", "F"):
        low, high = _range(np.asarray(image), is_float=image.mode == "F")
    elif image.format == "PNG" and transparent is not None:
        # The colour has the file's bit depth, while Pillow returns samples with eight bits.
        if image.mode == "RGB" and png_bits == 16:
            transparent = tuple(v >> 8 for v in transparent)
        elif image.mode == "L" and png_bits < 8:
            transparent = transparent * 255 // (2**png_bits - 1)
    return Tone(low, high, transparent)


def _range(samples: np.ndarray, is_float: bool) -> tuple[float, float]:
    """Return the range of samples if the file states none.

    It is the first of [0, 1] (floats only), [0, 255] and [0, 65535] that holds all samples, or else
    their minimum to their maximum.
    """
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite([low, high]).all():
        raise Unreadable("the image has samples that are not finite")
    for nominal in (1.0, 255.0, 65535.0)[0 if is_float else 1 :]:
        if low >= 0 and high <= nominal:
            return 0.0, nominal
    return (low, high) if high > low else (low, low + 1)


def to_rgb(image: Image.Image, tone: Tone, background: tuple[int, int, int]) -> np.ndarray:
    """Return a decoded image of any mode as RGB, uint8 (H, W, 3)."""
    width, height = image.size
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = image if rows >= height else image.crop((0, top, width, bottom))
        out[top:bottom] = np.asarray(_band_to_rgb(band, tone, background))
    return out


def _band_to_rgb(band: Image.Image, tone: Tone, background: tuple[int, int, int]) -> Image.Image:
    alpha = None
    if band.mode in ("I", "F") or band.mode.startswith("I;16"):
        samples = np.asarray(band)
        if tone.transparent is not None:
            alpha = Image.fromarray(np.where(samples == tone.transparent, 0, 255).astype(np.uint8))
        colour = Image.fromarray(tone(samples)).convert("RGB")
    elif band.mode in ("La", "LA", "PA", "RGBa", "RGBA") or (
        band.mode == "P" and "transparency" in band.info
    ):
        colour = band.convert({"La": "LA"}.get(band.mode, "RGBA")).convert("RGBA")
        alpha = colour.getchannel("A")
        colour = colour.convert("RGB")
    else:
        colour = band if band.mode == "RGB" else band.convert("RGB")
        if tone.transparent is not None:
            same = (np.asarray(colour) == np.asarray(tone.transparent)).all(axis=2)
            alpha = Image.fromarray(np.where(same, 0, 255).astype(np.uint8))
    if alpha is None:
        return colour
    out = Image.new("RGB", band.size, background)
    out.paste(colour, mask=alpha)
    return out
