"""The only image decoder of the project: any image source in, an RGB array out.

An image of another number of channels, where one is asked for, comes from `image_bands`.

docs/images.md documents the decoding policy, in the order of this code. libjpeg-turbo (simplejpeg)
decodes JPEG, Pillow all other formats. OpenCV decodes nothing here: it returns damaged images half
gray with a message on stderr, drops alpha, and applies the EXIF orientation of some formats only,
depending on its version.
"""

from __future__ import annotations

import ctypes
import io
import logging
import os
import time
import urllib.request
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from ppcls.data.image_bands import (
    Bands,
    alpha_kept,
    array_bands,
    as_rgb,
    header_channels,
    read_array,
    read_bands,
    require_channels,
    tiff_bands,
    to_gray,
)
from ppcls.data.image_bounds import check_bounds, check_opened, jpeg_header
from ppcls.data.image_tone import Unreadable, to_rgb, tone_of
from ppcls.errors import ImageError
from ppcls.files import check_regular, read_regular

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Header",
    "as_rgb",
    "read",
    "read_file",
    "read_header",
    "read_image",
    "read_object",
    "read_to_show",
]

IMAGE_SUFFIXES = frozenset(
    (
        *(".apng", ".avif", ".bmp", ".gif", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2"),
        *(".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo", ".npy", ".pbm", ".pcx", ".pfm"),
        *(".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
    )
)
"""Suffixes of image files when a folder is searched (any case)."""

MAX_PIXELS = 100_000_000
"""Default limit of the pixels of an image."""

WHITE = (255, 255, 255)

_FORMATS = (
    *("AVIF", "BMP", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD"),
    *("QOI", "SGI", "TGA", "TIFF", "WEBP"),
)
"""Formats that Pillow may read: those that need no other program, network or second file."""

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (4, b"ftypavi", "AVIF"),
    (0, b"8BPS", "PSD"),
    (0, b"icns", "ICNS"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"qoif", "QOI"),
    (0, b"\x01\xda", "SGI"),
    (0, b"\x93NUMPY", "NumPy"),
    # Recognised, but not supported: the name tells the user what to convert.
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftyp", "MP4 video"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"DDS ", "DDS"),
    (0, b"SIMPLE", "FITS"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"BLP", "BLP"),
    (0, b"<svg", "SVG"),
    (0, b"<!DOCTYPE html", "HTML"),
    (0, b"<html", "HTML"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
)

_MAX_DOWNLOAD = 200 * 2**20
_URL_TIMEOUT, _URL_SECONDS = 30.0, 300.0
_MAX_FILE = 2**30
_BLOCK = 2**22
_HEADER = 2**16
_MORE_HEADER = 17 * 2**20
_RGB = (1, 3, None)
"""The `channels` for which an image is read as RGB; gray is its luma."""


def read(
    source: Any,
    *,
    channels: int | None = 3,
    background: tuple[int, int, int] = WHITE,
    max_pixels: int = MAX_PIXELS,
    allow_url: bool = False,
) -> np.ndarray:
    """Return an image as an array, uint8 (H, W, channels), by the policy of docs/images.md.

    Args:
        source: a path; the bytes of an encoded image; a binary file object, read from its current
            position; a URL (http, https) if `allow_url`; a Pillow image; or a uint8 (H, W,
            channels) array, which is returned unchanged.
        channels: 3 for RGB, 1 for gray (the luma of RGB), or the number of bands that the image
            must have; None for all bands of an image that is neither gray nor colour, and RGB
            otherwise.
        background: the RGB colour, 0 to 255, behind transparent pixels of RGB and gray images.
        max_pixels: refuse an image with more pixels, before decoding. Pillow's own limit, twice
            `PIL.Image.MAX_IMAGE_PIXELS`, also applies. Several bands count as samples: three of
            them are a pixel.
        allow_url: whether a string that is a URL may be fetched.

    Raises:
        ImageError: the source is missing, empty, not an image, damaged, too large, of an
            unsupported format, or has another number of channels. It has the attributes
            `source`, `reason` and `recognised`.
    """
    if isinstance(source, np.ndarray):
        image = _check_array(source, channels)
        _check_size(image.shape[1], image.shape[0], max_pixels, "the array", None)
    elif isinstance(source, Image.Image):
        _silence_pillow()
        name = getattr(source, "filename", "") or "the Pillow image"
        image = _read_pillow(source, 8, name, source.format, background, max_pixels, channels)
    else:
        image = _read_file(*_load(source, allow_url), background, max_pixels, channels)
    return to_gray(image) if channels == 1 and image.shape[2] == 3 else image


def read_to_show(source: Any, *, allow_url: bool = False) -> np.ndarray:
    """Return an image of any number of channels to look at, uint8 RGB (H, W, 3) (see `as_rgb`).

    Raises:
        ImageError: it cannot be read.
    """
    return as_rgb(read(source, channels=None, allow_url=allow_url))


def _check_array(image: np.ndarray, channels: int | None) -> np.ndarray:
    if image.ndim == 2 and channels == 1:
        image = image[..., None]
    is_image = image.dtype == np.uint8 and image.ndim == 3 and image.size
    if is_image and (channels in (None, image.shape[2]) or (channels, image.shape[2]) == (1, 3)):
        return image
    what = "(H, W, 3) RGB" if channels == 3 else f"(H, W, {channels or 'channels'})"
    raise ImageError(f"an image array must be uint8 {what}, not {image.dtype} {image.shape}")


def _bands_of(file: BinaryIO, kind: str | None, channels: int | None) -> Bands | None:
    """Return the facts of an image of several bands from its header; None if Pillow reads it.

    Raises:
        Unreadable: it has another number of channels, or its samples are not uint8 or uint16.
    """
    bands = None
    if kind == "NumPy":
        bands = array_bands(file)
    elif kind == "TIFF":
        bands = tiff_bands(file, for_rgb=channels in _RGB)
    if bands is not None and (channels, bands.channels) != (1, 3):
        require_channels(bands.channels, channels, bands.shape)
    return bands


def _read_file(
    name: str,
    data: bytes,
    background: tuple[int, int, int],
    max_pixels: int,
    channels: int | None,
) -> np.ndarray:
    """Decode an image file, to RGB for the `channels` of `_RGB`."""
    if not data:
        raise ImageError("the image file is empty", name)
    kind = _recognise(data)
    _silence_pillow()
    with _readable(name, kind):
        bands = _bands_of(io.BytesIO(data), kind, channels)
        if bands is not None:
            _check_size(bands.width, bands.height, max_pixels, name, kind)
            return (read_array if kind == "NumPy" else read_bands)(data, bands, max_pixels)
        check_bounds(data, kind, max_pixels)
    if kind == "JPEG" and channels in _RGB:
        image = _read_jpeg(data, name, max_pixels)
        if image is not None:
            return image
    if kind == "PNG":
        _check_png(data, name)
    if kind == "JPEG 2000" and b"\xff\xd9" not in data[-1024:]:  # OpenJPEG leaves the rest black
        raise ImageError("the image is truncated: no end of codestream", name, kind)
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError(f"too many pixels: {error}", name, kind) from None
    except MemoryError:
        raise ImageError("not enough memory to decode it", name, kind) from None
    except Exception as error:  # decoders of hostile data raise nearly every built-in type
        reason = "not an image that can be decoded"
        if kind is not None and not isinstance(error, Image.UnidentifiedImageError):
            reason += f": {error}"
        elif kind is not None:
            reason += ": damaged, or an unsupported format"
        raise ImageError(reason, name, kind) from None
    with opened:
        png_bits = data[24] if kind == "PNG" and len(data) > 24 else 8
        del data  # as large as the image if the file is not compressed
        kind = kind or opened.format
        return _read_pillow(opened, png_bits, name, kind, background, max_pixels, channels)


read_image = read
"""The name by which `ppcls` offers it."""


def _load(source: Any, allow_url: bool) -> tuple[str, bytes]:
    """Return the source's name for messages, and its bytes."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return getattr(source, "filename", f"{len(source)} bytes"), bytes(source)
    if hasattr(source, "read"):
        name = str(getattr(source, "name", "the file object"))
        return name, read_object(source, name)
    if not isinstance(source, (str, os.PathLike)):
        raise ImageError(f"expected a path, bytes or an array, not {type(source).__name__}")
    name = os.fspath(source) if isinstance(os.fspath(source), str) else os.fsdecode(source)
    if name.lower().startswith(("http://", "https://")):
        if not allow_url:
            how = "allow_url=True, `ppcls predict --allow-url`"
            raise ImageError(f"fetching URLs is off; to allow it: {how}", name)
        return name, _fetch(name)
    return name, read_file(name)


def read_file(path: str | os.PathLike) -> bytes:
    """Return the bytes of an image file, which must be a regular file of at most 1 GiB.

    Raises:
        ImageError: it is not, or cannot be read.
    """
    with _naming(path):
        return read_regular(path, _MAX_FILE)


@contextmanager
def _readable(name: str, kind: str | None) -> Iterator[None]:
    """Turn an `Unreadable` into an `ImageError`."""
    try:
        yield
    except Unreadable as error:
        raise ImageError(str(error), name, kind) from None


@contextmanager
def _naming(path: str | os.PathLike) -> Iterator[None]:
    """Turn the errors of opening a file into an `ImageError`."""
    try:
        yield
    except OSError as error:
        raise ImageError(f"cannot read the image: {error.strerror}", os.fspath(path)) from None
    except ValueError as error:  # a zero byte, or what the file system cannot encode
        raise ImageError(f"cannot read the image: {error}", ascii(path)) from None


def read_object(source: Any, name: str) -> bytes:
    """Return the bytes of a binary file object to its end, at most 1 GiB.

    Args:
        source: the file object.
        name: its name in errors.

    Raises:
        ImageError: it is larger, cannot be read, or gives no bytes.
    """
    parts: list[bytes] = []
    left = _MAX_FILE
    while left >= 0:
        try:
            part = source.read(min(left + 1, _BLOCK))
        except (OSError, ValueError) as error:
            raise ImageError(f"cannot read the image: {error}", name) from None
        if not isinstance(part, bytes):
            raise ImageError(f"a file object must give bytes, not {type(part).__name__}", name)
        if not part:
            return b"".join(parts)
        parts.append(part)
        left -= len(part)
    raise ImageError(f"larger than {_MAX_FILE >> 20} MiB", name)


def _fetch(url: str) -> bytes:
    parts: list[bytes] = []
    left, end = _MAX_DOWNLOAD, time.monotonic() + _URL_SECONDS
    try:
        with urllib.request.urlopen(url, timeout=_URL_TIMEOUT) as answer:
            while left >= 0 and (part := answer.read1(_BLOCK)):
                parts.append(part)
                left -= len(part)
                if time.monotonic() > end:
                    raise TimeoutError(f"not complete after {_URL_SECONDS:.0f} s")
    except Exception as error:  # OSError; http.client's errors for a malformed response or URL
        raise ImageError(f"cannot fetch the image: {error}", url) from None
    data = b"".join(parts)
    if len(data) > _MAX_DOWNLOAD:
        raise ImageError(f"more than {_MAX_DOWNLOAD} bytes to fetch", url)
    return data


def _recognise(data: bytes) -> str | None:
    for offset, magic, kind in _SIGNATURES:
        if data.startswith(magic, offset):
            return kind
    return None


def _check_size(width: int, height: int, max_pixels: int, name: str, kind: str | None) -> None:
    if width <= 0 or height <= 0:
        raise ImageError(f"the image has no pixels: {width}x{height}", name, kind)
    if width * height > max_pixels:
        raise ImageError(
            f"too many pixels: {width}x{height}, more than the limit of {max_pixels}", name, kind
        )


# JPEG ---------------------------------------------------------------------------------------------


def _read_jpeg(data: bytes, name: str, max_pixels: int) -> np.ndarray | None:
    """Decode a gray or colour JPEG; return None if Pillow has to (CMYK, or stray bytes).

    libjpeg decodes damaged data and only warns; simplejpeg makes the first warning an error. A
    warning about a missing part of the image is final. Stray bytes between segments are harmless.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ("YCbCr", "RGB", "Gray"):
            return None
        _check_size(width, height, max_pixels, name, "JPEG")
        image = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError as error:
        if "premature end" in str(error).lower() or "bad Huffman" in str(error):
            raise ImageError(f"the image is truncated or damaged: {error}", name, "JPEG") from None
        return None
    except MemoryError:
        raise ImageError("not enough memory to decode it", name, "JPEG") from None
    return _orient(image, _jpeg_orientation(data)) if jpeg_header(data).has_app1 else image


def _jpeg_orientation(data: bytes) -> int:
    _silence_pillow()
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as opened:
            return _orientation(opened)
    except Exception:  # the pixels are complete; ignore a damaged tag
        return 1


# PNG ----------------------------------------------------------------------------------------------


def _check_png(data: bytes, name: str) -> None:
    """Refuse a PNG that ends early or has a wrong checksum, as Pillow does not check them all.

    This checks all critical chunks (https://www.w3.org/TR/png-3/#5CRC-algorithm).
    """
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        end = at + 12 + length
        chunk = data[at + 4 : at + 8]
        if end > len(data):
            break
        is_critical = not chunk[0] & 0x20
        if is_critical and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(
            data[end - 4 : end], "big"
        ):
            chunk_name = chunk.decode("latin1")
            raise ImageError(f"damaged: wrong checksum of chunk {chunk_name!r}", name, "PNG")
        if chunk == b"IEND":
            return
        at = end
    raise ImageError("the image is truncated: no end chunk", name, "PNG")


# Everything else ----------------------------------------------------------------------------------


@cache
def _silence_pillow() -> None:
    """Stop Pillow and libtiff from writing about unreadable tags to stderr.

    These messages are redundant: a damaged image raises an error. The first read image silences
    the whole process, because decoding threads share it.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.", category=UserWarning)
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    # libtiff prints the errors that it returns. This is the copy that Pillow links; a static copy
    # cannot be silenced.
    with suppress(AttributeError, OSError):
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


def _read_pillow(
    image: Image.Image,
    png_bits: int,
    name: str,
    kind: str | None,
    background: tuple[int, int, int],
    max_pixels: int,
    channels: int | None,
) -> np.ndarray:
    """Decode and convert an image that Pillow opened; a PNG sample has `png_bits` bits."""
    _check_size(*image.size, max_pixels, name, kind)
    try:
        check_opened(image, max_pixels)
        if channels not in _RGB:
            require_channels(header_channels(image), channels)
        image.load()
        # The size of an icon is known only now.
        _check_size(*image.size, max_pixels, name, kind)
        orientation = _orientation(image)
        if channels not in _RGB:
            return _orient(alpha_kept(image, channels), orientation)
        return _orient(to_rgb(image, tone_of(image, png_bits), background), orientation)
    except ImageError:
        raise
    except Unreadable as error:
        raise ImageError(str(error), name, kind) from None
    except MemoryError:
        raise ImageError("not enough memory to decode it", name, kind) from None
    except Exception as error:  # decoders of hostile data raise nearly every built-in type
        raise ImageError(f"the image is truncated or damaged: {error}", name, kind) from None


def _orientation(image: Image.Image) -> int:
    """Return the orientation that EXIF, or else XMP, states: 1 to 8; 1 if neither does.

    Pillow has already applied and removed the tag of a TIFF.
    """
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF may raise any error; ignore it
        return 1
    return value if value in range(1, 9) else 1


def _orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation (Exif 2.32, tag 0x0112), so that the top row is the first."""
    # OpenCV takes milliseconds; NumPy takes as long as decoding.
    if orientation in (5, 6, 7, 8):
        image = cv2.transpose(image)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if flip is None else cv2.flip(image, flip)


class Header(NamedTuple):
    """Facts from the header of an image file. `width` and `height` are as stored, before EXIF.

    `bands` is the number of channels of an array or of a TIFF of several bands, and 0 for others.
    """

    format: str
    mode: str
    width: int
    height: int
    bands: int = 0


def read_header(
    path: str | os.PathLike, max_pixels: int = MAX_PIXELS, channels: int | None = None
) -> Header:
    """Read the header of an image file without decoding the image.

    Args:
        path: the file.
        max_pixels: refuse an image with more pixels.
        channels: those to read the image with (see `read`).

    Raises:
        ImageError: the file is missing, empty or not an image, has too many pixels or another
            number of channels. A file that passes may still be damaged.
    """
    _silence_pillow()
    name = os.fspath(path)
    with _naming(name):
        check_regular(name, _MAX_FILE)
        file = open(name, "rb")  # noqa: SIM115
    with file:
        try:
            data = file.read(_HEADER)
            if not data:
                raise ImageError("the image file is empty", name)
            kind = _recognise(data)
            if kind in ("ICO", "ICNS"):
                data += file.read(_MAX_FILE)
            elif kind in ("JPEG", "PNG") and len(data) == _HEADER:
                data += file.read(_MORE_HEADER)
            check_bounds(data, kind, max_pixels)
            file.seek(0)
            bands = _bands_of(file, kind, channels)
            if bands is not None:
                header = Header(kind or "", bands.mode, *bands[:3])
            else:
                file.seek(0)
                with Image.open(file, formats=_FORMATS) as opened:
                    header = Header(opened.format or "", opened.mode, *opened.size)
                    if channels not in _RGB:
                        require_channels(header_channels(opened), channels)
        except ImageError:
            raise
        except Unreadable as error:
            raise ImageError(str(error), name, kind) from None
        except Image.UnidentifiedImageError:
            raise ImageError("not an image that can be decoded", name, kind) from None
        except OSError as error:
            raise ImageError(f"cannot read the image: {error.strerror or error}", name) from None
        except Exception as error:  # decoders of hostile data raise nearly every built-in type
            raise ImageError(f"not an image that can be decoded: {error}", name) from None
    _check_size(header.width, header.height, max_pixels, name, header.format)
    return header
