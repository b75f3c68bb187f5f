"""Images of other than three channels: arrays in files, TIFFs of several bands, alpha kept.

OpenCV reads at most four bands and Pillow four, so a TIFF of several bands is rewritten as a gray
one, which Pillow decodes: in the file, the samples of a row lie side by side like pixels.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ppcls.data.image_tone import Unreadable

__all__ = [
    "MAX_CHANNELS",
    "Bands",
    "alpha_kept",
    "array_bands",
    "as_rgb",
    "header_channels",
    "read_array",
    "read_bands",
    "require_channels",
    "tiff_bands",
    "to_gray",
]

MAX_CHANNELS = 512
"""Limit of the channels of an image."""

_DEPTHS = {8: np.uint8, 16: np.uint16}
_SAMPLES_A_PIXEL = 3
"""The samples that one pixel of `max_pixels` stands for: RGB has three."""


class Bands(NamedTuple):
    """Facts of an image of several bands, from its header, and what its reader needs.

    Attributes:
        bits: bits of a sample, 8 or 16.
        tags: the tags of a TIFF, or the header of an array.
        shape: the shape of an array.
    """

    width: int
    height: int
    channels: int
    bits: int
    tags: Any
    shape: tuple[int, ...] = ()

    @property
    def mode(self) -> str:
        """A description, such as `5 x uint16`."""
        return f"{self.channels} x uint{self.bits}"


def require_channels(found: int, expected: int | None, shape: tuple[int, ...] = ()) -> None:
    """Raise `Unreadable` if an image has another number of channels; None allows any.

    The message shows the `shape` of an array.
    """
    if expected not in (None, found):
        raise Unreadable(
            f"{found} channel{'s' * (found > 1)} found, {expected} expected (Global.in_channels)"
            + (f"; the shape is {shape}, and channels come last" if len(shape) == 3 else "")
        )


def to_gray(image: np.ndarray) -> np.ndarray:
    """Return the luma (ITU-R 601) of RGB, uint8 (H, W, 3), as (H, W, 1); gray stays unchanged."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return an image of any number of channels, uint8 (H, W, C), as one to look at.

    One or two channels give gray (the first), more give the first three as RGB.
    """
    return image[..., :3] if image.shape[2] >= 3 else np.repeat(image[..., :1], 3, axis=2)


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    """Scale uint16 samples as those of every 16-bit image: `v * 255 / 65535`, rounded."""
    if samples.dtype.itemsize == 1:
        return samples
    table = np.rint(np.arange(65536) * (255 / 65535)).astype(np.uint8)
    return table[samples]


def _require_size(bands: Bands, max_pixels: int) -> None:
    width, height, channels = bands[:3]
    if not 1 <= channels <= MAX_CHANNELS:
        raise Unreadable(f"{channels} channels found, 1 to {MAX_CHANNELS} expected")
    if width * height * channels > _SAMPLES_A_PIXEL * max_pixels:
        raise Unreadable(
            f"too many samples: {width}x{height}x{channels}, more than the limit of "
            f"{_SAMPLES_A_PIXEL * max_pixels}"
        )


# Arrays (numpy.lib.format) ------------------------------------------------------------------------


def _array_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        file.seek(0)
        shape, fortran, dtype = readers[np.lib.format.read_magic(file)](file)
    except Exception:  # the header is a Python literal: parsing one may raise nearly anything
        raise Unreadable("the header of the array is damaged, or of another version") from None
    return shape, fortran, dtype, file.tell()


def array_bands(file: BinaryIO) -> Bands:
    """Return the facts of a `.npy` file from its header.

    Raises:
        Unreadable: it is no array of images, or its header is damaged.
    """
    shape, fortran, dtype, start = _array_header(file)
    if dtype.kind != "u" or dtype.itemsize not in (1, 2):
        raise Unreadable(f"an array of {dtype} found, uint8 or uint16 expected")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise Unreadable(
            f"an array of shape {shape} found, (height, width) or (height, width, channels) "
            "expected"
        )
    height, width, channels = (*shape, 1)[:3]
    facts = shape, fortran, dtype, start
    return Bands(width, height, channels, 8 * dtype.itemsize, facts, shape)


def read_array(data: bytes, bands: Bands, max_pixels: int) -> np.ndarray:
    """Return the image of a `.npy` file, uint8 (H, W, C), as `array_bands` found it.

    Raises:
        Unreadable: the file is truncated or too large.
    """
    _require_size(bands, max_pixels)
    shape, fortran, dtype, start = bands.tags
    if len(data) - start < math.prod(shape) * dtype.itemsize:
        raise Unreadable("the array is truncated")
    samples = np.frombuffer(data, dtype, math.prod(shape), start)
    samples = samples.reshape(shape, order="F" if fortran else "C")
    image = _eight_bits(samples.reshape(bands.height, bands.width, bands.channels))
    return np.array(image, np.uint8, order="C")


# TIFF: TIFF 6.0, by the numbers of its tags -------------------------------------------------------

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES, _PLANAR = 273, 274, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 317, 322, 323, 324, 325
_EXTRA, _FORMAT = 338, 339
_JPEG = (6, 7)
_FLIPS: dict[int, tuple[int, ...]] = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}


def _tags(file: BinaryIO) -> ImageFileDirectory_v2:
    file.seek(0)
    tags = ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    tags.load(file)
    return tags


def _number(tags: Any, tag: int, default: int | None = None) -> int:
    value = tags.get(tag, default)
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]  # one for each sample, all the same
    if not isinstance(value, int):
        raise Unreadable(f"the image is damaged: tag {tag} is {value!r:.40}")
    return value


def _pillow_opens(file: BinaryIO) -> bool:
    file.seek(0)
    try:
        return bool(Image.open(file, formats=("TIFF",)))
    except Exception:  # decoders of hostile data raise nearly every built-in type
        return False


def tiff_bands(file: BinaryIO, *, for_rgb: bool) -> Bands | None:
    """Return the facts of a TIFF with several bands; None for one that Pillow decodes.

    Pillow decodes one sample a pixel, RGB, alpha and four inks, and leaves out other samples, up to
    four in all, which is right only if the image is read as RGB.

    Raises:
        Unreadable: its samples are not uint8 or uint16, or it has no pixels.
    """
    try:
        tags = _tags(file)
        channels, colour = _number(tags, _SAMPLES, 1), tags.get(_PHOTOMETRIC)
    except Exception:  # Pillow, which reads it next, names the damage
        return None
    has_alpha = bool(set(tags.get(_EXTRA) or ()) & {1, 2})
    if (colour, channels) in ((1, 1), (2, 3)) or colour not in (1, 2):
        return None
    if has_alpha and channels == 2 * colour:
        return None
    if for_rgb and channels <= 4 and _pillow_opens(file):
        return None
    if _number(tags, _FORMAT, 1) not in (1, 4) or _number(tags, _BITS, 1) not in _DEPTHS:
        raise Unreadable(f"{channels} channels of samples that are not uint8 or uint16")
    bits, width, height = (_number(tags, tag) for tag in (_BITS, _WIDTH, _HEIGHT))
    if min(width, height) < 1:
        raise Unreadable(f"the image has no pixels: {width}x{height}")
    return Bands(width, height, channels, bits, tags)


def read_bands(data: bytes, bands: Bands, max_pixels: int) -> np.ndarray:
    """Return the image of a TIFF of several bands, uint8 (H, W, C), as `tiff_bands` found it.

    Raises:
        Unreadable: it is damaged or too large, or JPEG-compressed.
    """
    _require_size(bands, max_pixels)
    tags, channels = bands.tags, bands.channels
    try:
        if _number(tags, _COMPRESSION, 1) in _JPEG:
            raise Unreadable("several bands in JPEG compression; write them with another one")
        parts = _parts(data, bands, max_pixels)
        if _number(tags, _PLANAR, 1) == 2:  # one band after the other
            each = len(parts) // channels
            planes = [parts[i * each : (i + 1) * each] for i in range(channels)]
            samples = np.dstack([_decode(data, bands, 1, plane) for plane in planes])
        else:
            rows = _decode(data, bands, channels, parts)
            samples = rows.reshape(bands.height, bands.width, channels)
            if _number(tags, _PREDICTOR, 1) == 2:
                step = _part_size(bands)[0]
                for left in range(0, bands.width, step):
                    part = samples[:, left : left + step]
                    np.cumsum(part, axis=1, dtype=samples.dtype, out=part)
        orientation = tags.get(_ORIENTATION, 1)
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable(f"too many samples: {error}") from None
    except MemoryError:
        raise Unreadable("not enough memory to decode it") from None
    except Exception as error:  # decoders of hostile data raise nearly every built-in type
        raise Unreadable(f"the image is truncated or damaged: {error}") from None
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    return np.ascontiguousarray(_eight_bits(np.flip(samples, _FLIPS.get(orientation, ()))))


def _part_size(bands: Bands) -> tuple[int, int]:
    """Return the width and height of a strip or tile."""
    tags = bands.tags
    if _TILES in tags:
        return _number(tags, _TILE_WIDTH), _number(tags, _TILE_HEIGHT)
    return bands.width, min(_number(tags, _ROWS, bands.height), bands.height)


def _parts(data: bytes, bands: Bands, max_pixels: int) -> list[bytes]:
    """Return the encoded strips or tiles, plane by plane."""
    tags = bands.tags
    width, height = _part_size(bands)
    if min(width, height) < 1:
        raise Unreadable(f"the image is damaged: strips of {width}x{height}")
    _require_size(bands._replace(width=width, height=height), max_pixels)
    offsets = tags[_TILES if _TILES in tags else _STRIPS]
    counts = tags[_TILE_BYTES if _TILES in tags else _STRIP_BYTES]
    planes = bands.channels if _number(tags, _PLANAR, 1) == 2 else 1
    needed = -(-bands.width // width) * -(-bands.height // height) * planes
    # Parts that overlap would decode the same bytes again and again.
    if not needed == len(offsets) == len(counts) or sum(counts) > len(data):
        raise Unreadable(f"the image is damaged: {len(offsets)} of {needed} strips")
    ends = [offset + count for offset, count in zip(offsets, counts, strict=True)]
    if max(ends) > len(data):
        raise Unreadable("the image is truncated")
    return [data[offset:end] for offset, end in zip(offsets, ends, strict=True)]


def _decode(data: bytes, bands: Bands, samples: int, parts: list[bytes]) -> np.ndarray:
    """Decode strips or tiles as those of a gray image, whose rows hold `samples` a pixel."""
    tags, (width, height) = bands.tags, _part_size(bands)
    counts = tuple(map(len, parts))
    offsets = tuple(accumulate(counts[:-1], initial=8))
    gray: dict[int, tuple[int, ...]] = {
        _WIDTH: (bands.width * samples,),
        _HEIGHT: (bands.height,),
        _BITS: (bands.bits,),
        _COMPRESSION: (_number(tags, _COMPRESSION, 1),),
        _PHOTOMETRIC: (1,),
        _SAMPLES: (1,),
    }
    if samples == 1 and _PREDICTOR in tags:
        gray[_PREDICTOR] = (_number(tags, _PREDICTOR),)
    if _TILES in tags:
        gray |= {_TILE_WIDTH: (width * samples,), _TILE_HEIGHT: (height,)}
        gray |= {_TILES: offsets, _TILE_BYTES: counts}
    else:
        gray |= {_ROWS: (height,), _STRIPS: offsets, _STRIP_BYTES: counts}
    file = io.BytesIO(_file(b"".join(parts), gray, data[:4]))
    with Image.open(file, formats=("TIFF",)) as opened:
        opened.load()
        return np.array(np.asarray(opened), _DEPTHS[bands.bits])


def _file(body: bytes, tags: Mapping[int, tuple[int, ...]], start: bytes) -> bytes:
    """Return a TIFF of image data that begin at the byte 8, and tags, all of them LONG."""
    order = ">" if start.startswith(b"MM") else "<"
    body += bytes(len(body) % 2)
    at = 8 + len(body)
    free = at + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack(f"{order}I", free + len(values)), values + packed
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + packed
    head = start + struct.pack(f"{order}I", at)
    return b"".join((head, body, struct.pack(f"{order}H", len(tags)), entries, bytes(4), values))


# Alpha --------------------------------------------------------------------------------------------


def header_channels(image: Image.Image) -> int:
    """Return the channels of an image that Pillow opened, alpha included."""
    if image.mode in ("RGBA", "RGBa", "PA") or (image.mode == "P" and "transparency" in image.info):
        return 4
    if image.mode in ("LA", "La"):
        return 2
    return 1 if image.mode in ("1", "L", "F") or image.mode.startswith("I") else 3


def alpha_kept(image: Image.Image, channels: int) -> np.ndarray:
    """Return a decoded image with its alpha, uint8 (H, W, channels).

    Raises:
        Unreadable: it has another number of channels.
    """
    require_channels(header_channels(image), channels)
    if image.mode == "La":
        return np.array(image.convert("LA"))
    return np.array(image if image.mode in ("LA", "RGBA") else image.convert("RGBA"))
