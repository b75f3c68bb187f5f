"""Bounds of reading images: none takes the machine, and what has no end is not opened."""

from __future__ import annotations

import io
import os
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppcls.data import image
from ppcls.errors import ImageError


def encode(size: tuple[int, int], kind: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def webp(width: int, height: int) -> bytes:
    """A WebP of which there is only the header of an animation: 38 bytes."""
    canvas = b"\x02\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + canvas + b"ANIM\0\0\0\0"


def codestream(data: bytes, **fields: int) -> bytes:
    """Change the sizes that a JPEG 2000 file states."""
    at = data.index(b"\xff\x4f\xff\x51") + 8
    names = ["width", "height", "x", "y", "tile_width", "tile_height"]
    found = bytearray(data)
    for name, value in fields.items():
        struct.pack_into(">I", found, at + 4 * names.index(name), value)
    return bytes(found)


def tiff_tile(side: int) -> bytes:
    """A TIFF of 16x16 pixels in one tile of a side."""
    tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, side), (323, side), (324, 134), (325, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(8)


J2K = encode((64, 64), "JPEG2000", "L")
SMALL_BLOCKS = encode((64, 64), "JPEG2000", "L", codeblock_size=(4, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (webp(9990, 9990), "9990x9990, more than the limit of WebP of 60000000"),
        (encode((9000, 9000), "WEBP", lossless=True, method=0)[:34], "limit of WebP of 60000000"),
        (codestream(J2K, width=60000, height=60000), "too many pixels: 60000x60000"),
        (
            codestream(J2K, width=9000, height=9000, tile_width=30, tile_height=30),
            "in 90000 tiles and 19775 code blocks would take about",
        ),
        (
            codestream(SMALL_BLOCKS, width=9000, height=9000),
            "in 19881 tiles and 5062500 code blocks would",
        ),
        (tiff_tile(40000), "40000x40000, more than the limit of a tile of 100000000"),
        (b"qoif" + struct.pack(">IIBB", 10, 10, 3, 0) + bytes(2**23), "larger than 8 MiB, the"),
        (b"P3 1 1 255 " + bytes(2**23), "larger than 8 MiB, the limit of QOI, run-length BMP"),
    ],
    ids=["animation", "lossless", "pixels", "tiles", "blocks", "tile", "QOI", "PNM"],
)
def test_small_files_that_would_take_much_are_refused_first(
    data: bytes, message: str, tmp_path: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=message):
        image.read(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10
    (tmp_path / "a").write_bytes(data)
    if "pixels" in message or "take" in message:  # the others need the whole file
        with pytest.raises(ImageError, match=message):
            image.read_header(tmp_path / "a")


def test_what_real_encoders_write_is_read() -> None:
    for kind, options in (
        ("WEBP", {}),
        ("AVIF", {}),
        ("JPEG2000", {}),
        ("JPEG2000", {"tile_size": (64, 64), "codeblock_size": (32, 32)}),
        ("JPEG2000", {"precinct_size": (128, 128), "codeblock_size": (64, 64)}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("JPEG", {"progressive": True}),
    ):
        data = encode((300, 200), kind, **options)
        assert image.read(data).shape == (200, 300, 3)
        # The bounds are in proportion to the limit on pixels.
        assert image.read(data, max_pixels=200_000).shape == (200, 300, 3)


def test_scans_of_a_jpeg_are_bounded_by_their_pixels() -> None:
    data = encode((400, 250), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    found = data.count(b"\xff\xda")
    many = data[:-2] + (99 - found) * scan + b"\xff\xd9"
    assert image.read(many).shape == (250, 400, 3)  # a small image costs little
    with pytest.raises(ImageError, match="99 scans of 100000 pixels, more than 2500000 together"):
        image.read(many, max_pixels=100_000)
    assert image.read(data, max_pixels=100_000).shape == (250, 400, 3)
    # A sequential image in several scans costs as much.
    one = encode((400, 250), "JPEG", "L")
    start = one.index(b"\xff\xda")
    frame = bytearray(one[:start])
    at = frame.index(b"\xff\xc0")
    frame[at + 9] = 3  # components, of which the scan has one
    with pytest.raises(ImageError, match="150 scans, more than 100"):
        image.read(bytes(frame) + 150 * one[start:-2] + b"\xff\xd9")
    with pytest.raises(ImageError, match="4 components of 100000 pixels in several scans"):
        image.read(encode((400, 250), "JPEG", "CMYK", progressive=True), max_pixels=100_000)


def test_what_has_no_end_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "folder.png").mkdir()
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2**30 + 1)
    for name, message in (
        ("pipe.png", "not a regular file"),
        ("zero.png", "not a regular file"),
        ("folder.png", "Is a directory"),
        ("sparse.png", "larger than 1024 MiB"),
        ("gone.png", "No such file or directory"),
        ("a\0b.png", "embedded null (byte|character)"),
        ("\ud800.png", "surrogates not allowed"),
    ):
        for read in (image.read, image.read_header):
            with pytest.raises(ImageError, match=f"cannot read the image: .*{message}") as raised:
                read(str(tmp_path / name))
            assert str(raised.value).isprintable()


def test_file_objects_are_read_to_their_end_and_no_further() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 100))

    data = encode((30, 20), "PNG")
    assert image.read(Slow(data)).shape == (20, 30, 3)

    class Endless:
        count = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 <= size <= 2**22
            self.count += size
            assert self.count < 2**24, "still read"
            return self.block[:size]

        block = bytes(2**22)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image, "_MAX_FILE", 2**22)
        with pytest.raises(ImageError, match="larger than 4 MiB"):
            image.read(Endless())


def test_bytes_that_are_not_utf8_in_names_reach_every_output(tmp_path: Path) -> None:
    import json

    from ppcls.inference.results import Result
    from ppcls.inference.writers import WRITERS

    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(encode((8, 8), "PNG"))
    assert np.asarray(image.read(tmp_path / name)).shape == (8, 8, 3)
    for kind, writer in WRITERS.items():
        out = writer(tmp_path / f"a.{kind}")
        out.write(Result(name, [0], [1.0], ["a"]))
        out.close()
        text = (tmp_path / f"a.{kind}").read_text(encoding="utf-8")
        assert "caf\\udce9.png" in text
        if kind != "csv":
            found = json.loads(text)
            assert (found[0] if kind == "json" else found)["filename"] == name


@pytest.mark.parametrize("from_file", [False, True])
def test_headers_of_very_many_parts_are_refused(tmp_path: Path, from_file: bool) -> None:
    def chunk(kind: bytes) -> bytes:
        return b"\0\0\0\0" + kind + zlib.crc32(kind).to_bytes(4, "big")

    def read(data: bytes) -> None:
        (tmp_path / "x").write_bytes(data)
        image.read_header(tmp_path / "x") if from_file else image.read(data)

    jpeg, png, ppm = (encode((8, 8), kind) for kind in ("JPEG", "PNG", "PPM"))
    segments = (b"\xff\xfe\0\2", b"\xff\xe1\0\x0aExif\0\0aa", b"\xff")
    for segment in segments:  # comments, parts of one EXIF, fill bytes
        read(jpeg[:2] + 1000 * segment + jpeg[2:])
        with pytest.raises(ImageError, match="more than 2000 segments or 16 MiB before the image"):
            read(jpeg[:2] + 3000 * segment + jpeg[2:])
    with pytest.raises(ImageError, match="more than 200000 chunks"):
        read(png[:33] + 200_000 * chunk(b"abCd") + png[33:])
    read(png[:33] + 1000 * chunk(b"abCd") + png[33:])
    read(ppm.replace(b"\n", b"\n# a comment\n" + 9000 * b" ", 1))
    for filler in (b"#" + 70_000 * b"x" + b"\n", 70_000 * b"\n", 40_000 * b"#\n"):
        with pytest.raises(ImageError, match="a header of more than 64 KiB"):
            read(ppm.replace(b"\n", b"\n" + filler, 1))


def test_an_array_whose_shape_is_no_numbers_is_named() -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((1, 4, 3), np.uint8))
    data = file.getvalue().replace(b"(1, 4, 3), ", b"(True,4,3),")
    with pytest.raises(ImageError, match="the header of the array is damaged"):
        image.read(data)
