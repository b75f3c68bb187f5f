"""Bounds on the time and memory of decoding, from the header of an image and before it is decoded.

The number of pixels bounds both for most formats. This module has the bounds for decoders that
need much more: of memory (WebP, AVIF, JPEG 2000, JPEG in scans, TIFF tiles) or of time (JPEG scans,
and formats that Pillow decodes in Python).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

__all__ = ["Excess", "JpegHeader", "check_bounds", "check_opened", "jpeg_header"]

_MAX_JPEG_SCANS = 100
_SCANNED = 25
"""Encoders write about ten scans; each costs a pass over the image, even if it has few bytes."""
_COEFFICIENTS = 3.2  # components of a JPEG in scans, whose coefficients are all in memory
_WEBP_SHARE = _AVIF_SHARE = 0.6  # of the limit on pixels: 14 to 16 bytes each, instead of 3 to 9
_J2K_BYTES = 10.0  # for each pixel of the limit
_SLOW_BYTES = 8 * 2**20
_PNG_SIZE = re.compile(rb"\x89PNG\r\n\x1a\n....IHDR(....)(....)", re.DOTALL)


class Excess(Exception):
    """An image that would take too much time or memory; the text says why."""


def check_bounds(data: bytes, kind: str | None, max_pixels: int) -> None:
    """Check the header of an encoded image.

    Args:
        data: the file, or its beginning.
        kind: its format by the first bytes.
        max_pixels: the limit on pixels, which the other bounds are in proportion to.

    Raises:
        Excess: decoding would take too much time or memory.
    """
    if kind == "WebP":
        width, height = _webp_size(data)
        _check_pixels(width, height, int(max_pixels * _WEBP_SHARE), " of WebP")
    elif kind in ("ICO", "ICNS"):  # Pillow decodes the picture inside while it opens the icon
        for wide, high in _PNG_SIZE.findall(data):
            _check_pixels(int.from_bytes(wide, "big"), int.from_bytes(high, "big"), max_pixels)
    elif kind == "JPEG" and (header := jpeg_header(data)).in_scans:
        _check_scans(header, data.count(b"\xff\xda"), max_pixels)
    if kind in ("JPEG 2000", "ICNS"):
        for match in re.finditer(rb"\xff\x4f\xff\x51", data):
            _check_codestream(data, match.start(), max_pixels)
    in_python = (
        kind == "QOI"
        or data[:2] in (b"P1", b"P2", b"P3")
        or (kind == "BMP" and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0"))
    )
    if in_python and len(data) > _SLOW_BYTES:
        raise Excess(
            f"larger than {_SLOW_BYTES >> 20} MiB, the limit of QOI, run-length BMP and plain-text "
            "PNM, which are slow to decode"
        )


def _check_pixels(width: int, height: int, most: int, what: str = "") -> None:
    if width * height > most:
        raise Excess(f"too many pixels: {width}x{height}, more than the limit{what} of {most}")


# WebP: https://developers.google.com/speed/webp/docs/riff_container


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the width and height of the canvas; zeros if the header is unknown or incomplete."""
    chunk = data[12:16]
    if chunk == b"VP8X" and len(data) >= 30:
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if chunk == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if chunk == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return 0, 0


# JPEG: ITU-T T.81, annex B ------------------------------------------------------------------------


class JpegHeader(NamedTuple):
    """Facts before the first scan; stray bytes between segments count as all of them.

    Attributes:
        has_app1: whether an APP1 segment (EXIF, XMP) exists.
        in_scans: whether the image may have several scans.
        samples: width times height, and times the number of components.
    """

    has_app1: bool
    in_scans: bool
    pixels: int
    samples: int


def jpeg_header(data: bytes) -> JpegHeader:
    """Read the header of a JPEG file."""
    at, has_app1, in_scans, pixels, samples = 2, False, False, 0, 0
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        length = data[at + 2] << 8 | data[at + 3]
        if marker == 0xDA:
            # A sequential image with all components in its first scan has only that one.
            count = data[at + 4] if at + 4 < len(data) else 0
            whole = not in_scans and bool(pixels) and count * pixels == samples
            return JpegHeader(has_app1, not whole, pixels, samples)
        has_app1 |= marker == 0xE1
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and at + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
            pixels, samples = width * height, width * height * components
            in_scans |= marker in (0xC2, 0xC6, 0xCA, 0xCE)
        at += 2 + length
    return JpegHeader(True, True, pixels, samples)


def _check_scans(header: JpegHeader, scans: int, max_pixels: int) -> None:
    if scans > _MAX_JPEG_SCANS:
        raise Excess(f"{scans} scans, more than {_MAX_JPEG_SCANS}")
    if scans * header.pixels > _SCANNED * max_pixels:
        raise Excess(
            f"{scans} scans of {header.pixels} pixels, more than {_SCANNED * max_pixels} together"
        )
    if header.samples > _COEFFICIENTS * max_pixels:
        raise Excess(
            f"{header.samples // max(1, header.pixels)} components of {header.pixels} pixels in "
            f"several scans, more than {_COEFFICIENTS * max_pixels:.0f} samples"
        )


# JPEG 2000: ITU-T T.800, annex A ------------------------------------------------------------------


def _check_codestream(data: bytes, start: int, max_pixels: int) -> None:
    """Estimate the memory of OpenJPEG: of the samples, of the code blocks and of the tiles."""
    if len(data) < start + 42:
        return
    x1, y1, x0, y0, tile_w, tile_h, tile_x, tile_y, count = struct.unpack_from(
        ">8IH", data, start + 8
    )
    width, height = max(0, x1 - x0), max(0, y1 - y0)
    _check_pixels(width, height, max_pixels)
    tiles = _ceil(x1 - tile_x, tile_w) * _ceil(y1 - tile_y, tile_h)
    samples = width * height * count
    blocks = int(samples * max(_block_densities(data, start, count), default=0.0))
    # Measured with OpenJPEG 2.5: bytes for each pixel, sample, code block and tile.
    needed = 4 * width * height + samples * 5 + blocks * 500 + tiles * (7000 + 1100 * count)
    if needed > _J2K_BYTES * max_pixels:
        raise Excess(
            f"{width}x{height} pixels of {count} components in {tiles} tiles and {blocks} code "
            f"blocks would take about {needed / 2**20:.0f} MiB"
        )


def _ceil(length: int, part: int) -> int:
    return -(-max(0, length) // max(1, part))


def _block_densities(data: bytes, start: int, components: int) -> Iterator[float]:
    """Yield the code blocks per sample that the headers of the image and its tiles state."""
    at, tile_start, tile_length = start + 2, 0, 0
    while at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0x93:  # start of the data of a tile part; 0 is the length of the last one
            at = tile_start + tile_length
            if not tile_length:
                return
            continue
        length = data[at + 2] << 8 | data[at + 3]
        body = data[at + 4 : at + 2 + length]
        if marker == 0x90 and len(body) >= 6:
            tile_start, tile_length = at, int.from_bytes(body[2:6], "big")
            if 0 < tile_length < 12:  # would lead back
                return
        elif marker in (0x52, 0x53):
            before = 5 if marker == 0x52 else (2 if components < 257 else 3)
            has_precincts = body[0 if marker == 0x52 else before - 1 :][:1]
            style = body[before:]
            if len(style) >= 3 and has_precincts:
                yield _block_density(style, bool(has_precincts[0] & 1))
        at += 2 + max(2, length)


def _block_density(style: bytes, has_precincts: bool) -> float:
    """Return the code blocks per sample; a precinct holds at least one, and may make it smaller."""
    wide, high = (style[1] & 15) + 2, (style[2] & 15) + 2
    if not has_precincts:
        return 2.0 ** -(wide + high)
    density, share = 0.0, 0.75  # of the samples, in the highest resolution
    for size in reversed(style[5:]):
        area = min(wide, max(0, (size & 15) - 1)) + min(high, max(0, (size >> 4) - 1))
        density += share * 2.0**-area
        share /= 4
    return density


# Formats whose header Pillow has to read ----------------------------------------------------------


def check_opened(image: Image.Image, max_pixels: int) -> None:
    """Check an image that Pillow has opened and not yet decoded.

    Raises:
        Excess: decoding would take too much memory.
    """
    if image.format == "AVIF":
        _check_pixels(*image.size, int(max_pixels * _AVIF_SHARE), " of AVIF")
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(322), tags.get(323)  # tiles may be larger than the image
    if isinstance(width, int) and isinstance(height, int):
        _check_pixels(width, height, max_pixels, " of a tile")
