"""The decode policy of docs/images.md, held against generated files and the odd ones beside us."""

from __future__ import annotations

import http.server
import io
import pickle
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from ppcls.data import image
from ppcls.errors import ImageError


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth picture without symmetry, so that lossy formats keep it and turns show."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([4 * x, 5 * y, 2 * x + 2 * y], axis=2).astype(np.uint8)


def encode(picture: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, bits: int, colours: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG of these raw rows (each begins with its filter byte); `more` is name + content."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    out = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + header, *more, b"IDAT" + zlib.compress(rows), b"IEND"):
        out += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return out


def close(a: np.ndarray, b: np.ndarray, within: int) -> bool:
    return a.shape == b.shape and int(np.abs(a.astype(int) - b).max()) <= within


# Sources ------------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same_picture(tmp_path: Path) -> None:
    data = encode(photo(), "PNG")
    path = tmp_path / "ein Bild é.png"
    path.write_bytes(data)
    sources = [path, str(path), data, bytearray(data), io.BytesIO(data), photo(), path.open("rb")]
    for source in [*sources, Image.fromarray(photo()), Image.open(path)]:
        read = image.read(source)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, photo())
    sources[-1].close()


def test_a_url_is_fetched_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(photo(), "PNG"))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.png"
        np.testing.assert_array_equal(image.read(url, allow_url=True), photo())
        with pytest.raises(ImageError, match=r"a\.png: fetching URLs is off"):
            image.read(url)
        with pytest.raises(ImageError, match=r"gone\.png: cannot fetch the image: .*404"):
            image.read(url.replace("a.png", "gone.png"), allow_url=True)
        server.shutdown()


@pytest.mark.parametrize("source", [3, None, io.StringIO("text"), [1, 2]])
def test_other_types_are_refused(source: Any) -> None:
    with pytest.raises(ImageError, match=r"expected a path|must give bytes"):
        image.read(source)


# What becomes of the picture ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind: str) -> None:
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
        data = encode(photo(), kind, exif=exif, **options)
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        read = image.read(data)
        assert close(read, np.asarray(expected), 0), orientation
        # Which corner of the picture is the dark one, by the definition of the tag.
        corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0)}
        corner |= {5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
        assert read[corner[orientation]].max() < 30
        assert read.shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))


def test_broken_exif_turns_nothing() -> None:
    plain = encode(photo(), "JPEG")
    for payload in (b"", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\0\x09", b"junk" * 20):
        data = encode(photo(), "JPEG", exif=b"Exif\0\0" + payload)
        np.testing.assert_array_equal(image.read(data), image.read(plain))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "La", "PA", "RGBX"])
def test_modes_are_converted_by_value(mode: str) -> None:
    start = Image.fromarray(photo())
    if mode == "PA":
        start = start.quantize(64)
    if mode == "La":
        start = start.convert("LA")
    picture = start.convert(mode)
    expected = start.convert("L").convert("RGB") if mode in ("L", "La") else start.convert("RGB")
    if mode in ("1", "P"):  # few values: dithered, or the nearest of a palette
        expected = picture.convert("RGB")
    loss = {"HSV": 8, "YCbCr": 3}.get(mode, 1)
    assert close(image.read(picture), np.asarray(expected), loss)


def test_cmyk_and_lab_files() -> None:
    cmyk = Image.fromarray(photo()).convert("CMYK")
    assert close(image.read(encode(cmyk, "JPEG", quality=100)), photo(), 6)
    assert close(image.read(encode(cmyk, "TIFF")), photo(), 1)
    colours = np.array([[[255] * 3, [0] * 3, [119] * 3, [255, 0, 0], [90, 140, 180]]], np.uint8)
    lab = Image.fromarray(colours).convert("LAB")
    assert close(image.read(encode(lab, "TIFF")), colours, 5)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 128, 257, 25700, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 100, 255]])
    for kind in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(image.read(encode(deep, kind))[..., 0], expected)
    big_endian = Image.frombytes("I;16B", (5, 1), deep.astype(">u2").tobytes())
    np.testing.assert_array_equal(image.read(big_endian)[..., 2], expected)
    rows = b"\0" + np.array([0, 25700, 65535], ">u2").tobytes()
    np.testing.assert_array_equal(image.read(png(1, 1, 16, 2, rows)), [[[0, 100, 255]]])


def test_where_white_is_zero_sixteen_bits_are_inverted() -> None:
    deep = np.array([[0, 25700, 65535]], np.uint16)
    data = encode(deep, "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(image.read(data)[0, :, 0], [255, 155, 0])


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([0, 0.5, 1], [0, 128, 255]),
        ([0, 100.4, 255], [0, 100, 255]),
        ([0, 257, 65535], [0, 1, 255]),
        ([-1, 0, 1], [0, 128, 255]),
        ([1e6, 2e6, 2e6], [0, 255, 255]),
        ([-5, -5, -5], [0, 0, 0]),
    ],
)
def test_floats_are_scaled_from_the_range_that_holds_them(
    samples: list[float], expected: list[int]
) -> None:
    data = encode(np.array([samples], np.float32), "TIFF")
    assert image.read(data)[0, :, 1].tolist() == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ImageError, match=r"not finite.*TIFF"):
        image.read(encode(np.array([[0, bad]], np.float32), "TIFF"))


def test_alpha_is_composited_on_the_background() -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 200, 100, 51]]], np.uint8)
    data = encode(rgba, "PNG")
    white = [[10, 20, 30], [255, 255, 255], [204, 244, 224]]
    assert image.read(data)[0].tolist() == white
    assert image.read(Image.fromarray(rgba))[0].tolist() == white
    red = image.read(data, background=(255, 0, 0))[0].tolist()
    assert red == [[10, 20, 30], [255, 0, 0], [204, 40, 20]]
    lossless = encode(rgba, "WEBP", lossless=True, exact=True)
    assert close(image.read(lossless), np.array([white]), 1)


def test_transparent_colours_of_png_are_compared_with_the_bits_of_the_file() -> None:
    # Gray of 1, 2, 4, 8 and 16 bits: the first pixel has the transparent value, the second not.
    for bits, rows, key, other in (
        (1, b"\0\x40", 0, 255),
        (2, b"\0\x60", 1, 170),
        (4, b"\0\x3a", 3, 170),
        (8, b"\0\x64\x65", 100, 101),
        (16, b"\0" + struct.pack(">HH", 25700, 51400), 25700, 200),
    ):
        read = image.read(
            png(2, 1, bits, 0, rows, b"tRNS" + struct.pack(">H", key)), background=(9, 8, 7)
        )
        assert read[0].tolist() == [[9, 8, 7], [other] * 3], bits
    for bits, letter in ((8, "B"), (16, "H")):
        unit = 1 if bits == 8 else 257
        rows = b"\0" + struct.pack(f">6{letter}", *(unit * v for v in (1, 2, 3, 1, 2, 4)))
        key = struct.pack(">HHH", *(unit * v for v in (1, 2, 3)))
        read = image.read(png(2, 1, bits, 2, rows, b"tRNS" + key))
        assert read[0].tolist() == [[255, 255, 255], [1, 2, 4]]
    palette = png(2, 1, 8, 3, b"\0\0\1", b"PLTE" + bytes([1, 2, 3, 4, 5, 6]), b"tRNS" + b"\0")
    assert image.read(palette)[0].tolist() == [[255, 255, 255], [4, 5, 6]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "MPO", "AVIF"])
def test_of_many_frames_the_first_is_read(kind: str) -> None:
    first, second = Image.new("RGB", (20, 10), (200, 40, 10)), Image.new("RGB", (20, 10), "blue")
    data = encode(first, kind, save_all=True, append_images=[second])
    assert close(image.read(data), np.asarray(first), 6)


def test_a_large_image_is_converted_whole() -> None:
    gray = np.add.outer(np.arange(1500) * 20, np.arange(1100)).astype(np.uint16)
    expected = np.rint(gray / 257).astype(np.uint8)
    np.testing.assert_array_equal(image.read(Image.fromarray(gray))[..., 1], expected)


# What is refused ----------------------------------------------------------------------------------

KINDS = ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM", "TGA", "ICO"]


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_files_are_refused(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encode(photo(64, 64), kind)
    assert image.read(data).shape == (64, 64, 3)
    for share in (0.1, 0.5, 0.9):
        path = tmp_path / "cut"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageError, match="cut: ") as error:
            image.read(path)
        assert error.value.source == str(path)
        assert "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_a_jpeg_whose_data_end_before_the_picture_is_refused() -> None:
    data = encode(photo(200, 200), "JPEG", quality=95)
    with pytest.raises(ImageError, match=r"truncated or damaged: .*premature end") as error:
        image.read(data[: len(data) // 2] + b"\xff\xd9")
    assert error.value.recognised == "JPEG"


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(encode(photo(), "PNG"))
    data[data.index(b"IDAT") + 30] ^= 1
    with pytest.raises(ImageError, match="wrong checksum of chunk 'IDAT'"):
        image.read(bytes(data))


def test_the_limit_on_pixels_holds_before_decoding() -> None:
    assert image.read(encode(photo(), "PNG"), max_pixels=2400).shape == (40, 60, 3)
    for kind in KINDS:
        with pytest.raises(ImageError, match="too many pixels"):
            image.read(encode(photo(64, 64), kind), max_pixels=64 * 64 - 1)
    with pytest.raises(ImageError, match="too many pixels: 60x40, more than the limit of 2399"):
        image.read(Image.fromarray(photo()), max_pixels=2399)


@pytest.mark.parametrize(
    "bomb",
    [
        png(50_000, 50_000, 8, 2, b"\0"),
        png(12_000, 9_000, 8, 2, b"\0"),
        b"P6 99999 99999 255\n" + bytes(99),
        b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 4, 0) + bytes(99),
        b"GIF89a"
        + struct.pack("<HH", 65_535, 65_535)
        + bytes(3)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
        + b"\x08\0;",
        b"BM" + struct.pack("<IHHIIiiHH", 0, 0, 0, 54, 40, 20_000, 9_000, 1, 24) + bytes(99),
        b"\0\0\1\0\1\0"
        + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 200, 22)
        + png(12_000, 12_000, 8, 2, b"\0"),
    ],
    ids=["png", "png-below-pillows-limit", "ppm", "qoi", "gif", "bmp", "ico"],
)
def test_bombs_are_refused_by_their_header(bomb: bytes) -> None:
    with pytest.raises(ImageError, match="too many pixels"):
        image.read(bomb)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = encode(photo(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(ImageError, match="scans, more than 100"):
        image.read(data[:-2] + 200 * scan + b"\xff\xd9")


@pytest.mark.parametrize(
    ("data", "recognised"),
    [
        (b"#?RADIANCE\n", "Radiance HDR"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"<!DOCTYPE html><p>not found", "HTML"),
    ],
)
def test_what_is_not_read_is_still_recognised(data: bytes, recognised: str) -> None:
    with pytest.raises(ImageError, match=rf"recognised as {recognised}") as error:
        image.read(data + bytes(100))
    assert error.value.recognised == recognised


def test_sizes_of_zero_are_refused() -> None:
    for source in (Image.new("RGB", (0, 4)), png(0, 5, 8, 2, b""), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ImageError):
            image.read(source)


def test_the_error_survives_the_way_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(ImageError("why", "a.png", "PNG")))
    assert (error.reason, error.source, error.recognised) == ("why", "a.png", "PNG")
    assert str(error) == "a.png: why (recognised as PNG)"


# The odd files beside the checkout ----------------------------------------------------------------


def pillows(path: Path) -> np.ndarray | None:
    """The policy applied to what Pillow reads; None where it reads nothing or has no 8 bits."""
    try:
        picture = ImageOps.exif_transpose(Image.open(path))
        if picture.mode[0] in "IF":  # more than eight bits
            return None
        rgba = picture.convert("RGBA")
    except Exception:
        return None
    white = Image.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return np.asarray(white.convert("RGB"))


def test_odd_files_are_read_right_or_refused(
    shared: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What Pillow reads and we do not is damaged, or of a kind that the policy leaves out."""
    folder = shared / "data/odd_images"
    read, refused = 0, set()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        expected = pillows(path)
        capfd.readouterr()
        try:
            got = image.read(path)
        except ImageError as caught:
            error = caught
        else:
            error = None
        assert capfd.readouterr().err == "", path
        if error is None:
            read += 1
            assert (got.dtype, got.ndim, got.shape[2]) == (np.uint8, 3, 3)
            assert expected is None or close(got, expected, 1), path
        else:
            assert str(path) in str(error)
            if expected is not None:
                refused.add(path.name)
    assert read > 360
    assert refused == {
        "8e5e74dbf9b68a322fbb9512db837329.jpg",
        "dc-predictor-overflow.jpg",
        "hopper.fits",
        "partial_progressive.jpg",
        "xcsn0g01.png",
    }
