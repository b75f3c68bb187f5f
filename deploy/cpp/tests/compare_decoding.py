"""Compare the images that the C++ library decodes with Python's, on files and on damaged copies.

    python deploy/cpp/tests/compare_decoding.py --tool BUILD/tests/decode_tool PATH…
    python deploy/cpp/tests/compare_decoding.py --tool BUILD/tests/decode_tool --mutants 10000 PATH…

With `--mutants`, the paths give JPEG, PNG and WebP files of at most 100 KB to damage, beside some
that this script makes: the same damage in every run. The pixels must be equal, for JPEG within one
level. Verdicts that differ are counted by reason. Exit status 1: some pixels differ, the tool
crashed, or verdicts differ for a reason that `EXPLAINED` does not have.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ppcls.data.image import read
from ppcls.errors import ImageError

MAX_BYTES = 100_000
NOT_READ = re.compile("that the C\\+\\+ library (reads|does not read)")
EXPLAINED = {
    "scans are missing": "how libjpeg smooths a JPEG that lacks scans depends on its version",
    "premature end of data segment|bad Huffman code|Premature end of JPEG|extraneous bytes": (
        "Pillow, which reads CMYK and stray bytes, does not see libjpeg's warnings of missing data"
    ),
    "Not enough image data": "Pillow leaves rows black if a PNG's compressed data end properly",
    "IHDR|PLTE": "libpng refuses critical chunks that are misplaced, repeated, missing or cut",
    "frame before its image|first APNG frame": "C++ reads the image of an APNG, not a part of it",
    "rows of N bytes": "C++ bounds the memory of a row of a PNG",
}
"""Reasons for which C++ alone refuses an image, and why that is right."""
UNKNOWN_MARKER = b"\xff\x01"  # TEM, which libjpeg skips and Pillow, after stray bytes, refuses
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".mpo", ".jpe", ".apng", ".jfif"}


class Tool:
    """The C++ decoder, in a process that is started again when it ends."""

    def __init__(self, command: str):
        self._command = command
        self._process: subprocess.Popen | None = None

    def read(self, path: str) -> np.ndarray | str:
        """Return the pixels, or the error; 'CRASH' if the process ended."""
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [self._command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(os.fsencode(path) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline().decode(errors="replace").rstrip("\n")
        if line.startswith("error "):
            return line.removeprefix("error ").replace(path + ": ", "")
        if not line:
            self._process.wait()
            return "CRASH"
        height, width = map(int, line.split())
        pixels = self._process.stdout.read(height * width * 3)
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def python_read(path: str) -> np.ndarray | str:
    """Return the pixels, or the error."""
    try:
        return read(path)
    except ImageError as error:
        return str(error).replace(path + ": ", "")


def compare(cpp: np.ndarray | str, python: np.ndarray | str, is_jpeg: bool) -> str:
    """Return one word for the class of the comparison, with the reasons of a refusal."""
    if isinstance(cpp, str):
        if cpp == "CRASH":
            return "CRASH"
        if isinstance(python, str):
            return "both refuse"
        if NOT_READ.search(cpp):
            return "format not read in C++"
        return f"only C++ refuses: {general(cpp)}"
    if isinstance(python, str):
        return f"only Python refuses: {general(python)}"
    if cpp.shape != python.shape:
        return "PIXELS DIFFER: another size"
    most = int(np.abs(cpp.astype(np.int16) - python).max())
    if most == 0:
        return "equal"
    if most == 1 and is_jpeg:
        return "equal within 1 level"
    return "PIXELS DIFFER"


def is_explained(found: str) -> bool:
    """Return whether a class of the comparison is no fault."""
    if found.startswith("only C++ refuses"):
        return any(re.search(reason, found) for reason in EXPLAINED)
    return found.startswith(("equal", "both", "format"))


def general(reason: str) -> str:
    """Return a reason without its numbers and names, to count it."""
    reason = re.sub("'[^']*'|\"[^\"]*\"|b'.*'", "…", reason)
    return re.sub(r"0x[0-9a-f]+|\d+", "N", reason)[:150]


# Damage -------------------------------------------------------------------------------------------

Parts = list[bytes]


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """Return the data with 1 to 8 bits inverted."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def flip_in_header(data: bytes, rng: random.Random) -> bytes:
    """Return the data with a byte of the first 200 replaced."""
    out = bytearray(data)
    at = rng.randrange(min(200, len(out)))
    out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Return the beginning of the data."""
    return data[: rng.randrange(1, len(data))]


def truncate_end(data: bytes, rng: random.Random) -> bytes:
    """Return the data without some of its last bytes."""
    return data[: -rng.randrange(1, min(64, len(data)))]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Return the data with up to 20 bytes more in some place."""
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:]


def remove(data: bytes, rng: random.Random) -> bytes:
    """Return the data without up to 20 bytes of some place."""
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 20) :]


def zeros(data: bytes, rng: random.Random) -> bytes:
    """Return the data with a stretch of zeros, as a disk leaves it."""
    at = rng.randrange(len(data))
    length = min(rng.randrange(1, 512), len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


def split(data: bytes) -> tuple[Parts, Callable[[Parts], bytes], Callable[[bytes, bytes], bytes]]:
    """Return the parts of a file, what joins them, and what gives a part another content."""
    if data.startswith(b"\x89PNG"):
        return _png_parts(data), lambda parts: data[:8] + b"".join(parts), _png_part
    if data[8:12] == b"WEBP":
        return _webp_parts(data), _webp_joined, _webp_part
    return _jpeg_parts(data), b"".join, _jpeg_part


def _png_parts(data: bytes) -> Parts:
    parts, at = [], 8
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return parts


def _png_part(part: bytes, content: bytes) -> bytes:
    body = part[4:8] + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _webp_parts(data: bytes) -> Parts:
    parts, at = [], 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        parts.append(data[at:end])
        at = end
    return parts


def _webp_joined(parts: Parts) -> bytes:
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_part(part: bytes, content: bytes) -> bytes:
    return part[:4] + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _jpeg_parts(data: bytes) -> Parts:
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:  # with its entropy-coded data
            following = re.compile(rb"\xff[\x01-\xcf\xd8-\xff]").search(data, end)
            end = following.start() if following else len(data)
        if data[at + 1] == 0xD9:
            end = at + 2
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def _jpeg_part(part: bytes, content: bytes) -> bytes:
    return part[:2] + struct.pack(">H", min(len(content) + 2, 0xFFFF)) + content


def swap_parts(data: bytes, rng: random.Random) -> bytes:
    """Return the file with two of its chunks or segments exchanged."""
    parts, join, _ = split(data)
    i, j = (rng.randrange(len(parts)) for _ in range(2)) if parts else (0, 0)
    if parts:
        parts[i], parts[j] = parts[j], parts[i]
    return join(parts)


def drop_part(data: bytes, rng: random.Random) -> bytes:
    """Return the file without one of its chunks or segments."""
    parts, join, _ = split(data)
    if parts:
        del parts[rng.randrange(len(parts))]
    return join(parts)


def repeat_part(data: bytes, rng: random.Random) -> bytes:
    """Return the file with one of its chunks or segments twice."""
    parts, join, _ = split(data)
    if parts:
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(parts))
    return join(parts)


def content_of(part: bytes, data: bytes) -> bytes:
    """Return what is in a chunk or segment of a file, without its header and checksum."""
    head = 4 if data.startswith(b"\xff\xd8") else 8
    return part[head : len(part) - (4 if data.startswith(b"\x89PNG") else 0)]


def edit_part(data: bytes, rng: random.Random) -> bytes:
    """Return the file with a byte of one chunk or segment changed, and its checksum right."""
    parts, join, remake = split(data)
    if not parts:
        return data
    at = rng.randrange(len(parts))
    content = bytearray(content_of(parts[at], data))
    if content:
        byte = rng.randrange(min(len(content), rng.choice((16, 10_000))))
        content[byte] = rng.choice((0, 1, 2, 3, 4, 8, 16, 0xFF, content[byte] ^ 1, 0x80))
        parts[at] = remake(parts[at], bytes(content))
    return join(parts)


def cut_part(data: bytes, rng: random.Random) -> bytes:
    """Return the file with one chunk or segment shorter or longer, and its checksum right."""
    parts, join, remake = split(data)
    if not parts:
        return data
    at = rng.randrange(len(parts))
    content = content_of(parts[at], data)
    if rng.random() < 0.5:
        content = content[: rng.randrange(len(content) + 1)]
    else:
        content += rng.randbytes(rng.randrange(1, 12))
    parts[at] = remake(parts[at], content)
    return join(parts)


def add_metadata(data: bytes, rng: random.Random) -> bytes:
    """Return the file with EXIF or XMP that states an orientation, whole or damaged."""
    parts, join, _ = split(data)
    value = rng.randrange(10)
    order = rng.choice("<>")
    kind, count = rng.choice((3, 3, 3, 1, 4, 5, 9, 11)), rng.choice((1, 1, 1, 2, 0))
    content = struct.pack(order + ("H2x" if kind in (3, 9) else "I"), value)
    entry = struct.pack(order + "HHI", 0x0112, kind, count) + content
    entries = [struct.pack(order + "HHI4s", 0x0100 + i, 3, 1, b"\1\0\0\0") for i in range(2)]
    entries.insert(rng.randrange(3), entry)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    tiff = magic + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    xmp = b'<x:xmpmeta><rdf tiff:Orientation="%d"/></x:xmpmeta>' % value
    if rng.random() < 0.3:
        tiff = flip_bits(tiff, rng)
    is_exif = rng.random() < 0.7
    if data.startswith(b"\x89PNG"):
        chunk = _png_part(bytes(4) + b"eXIf", tiff)
        if not is_exif:
            chunk = _png_part(bytes(4) + b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
        parts.insert(rng.randrange(1, max(2, len(parts))), chunk)
    elif data[8:12] == b"WEBP":
        parts.append(_webp_part(b"EXIF" if is_exif else b"XMP ", tiff if is_exif else xmp))
    else:
        body = b"Exif\0\0" + tiff if is_exif else b"http://ns.adobe.com/xap/1.0/\0" + xmp
        parts.insert(1, _jpeg_part(b"\xff\xe1", body))
    return join(parts)


def edit_pixels(data: bytes, rng: random.Random) -> bytes:
    """Return a PNG whose compressed samples are changed, cut or lengthened, then compressed."""
    if not data.startswith(b"\x89PNG"):
        return edit_part(data, rng)
    parts, join, _ = split(data)
    packed = b"".join(part[8:-4] for part in parts if part[4:8] == b"IDAT")
    try:
        samples = bytearray(zlib.decompress(packed))
    except zlib.error:
        return flip_bits(data, rng)
    how = rng.randrange(4)
    if how == 0 and samples:
        samples[rng.randrange(len(samples))] = rng.randrange(256)
    elif how == 1:
        del samples[-rng.randrange(1, 40) :]
    elif how == 2:
        samples += rng.randbytes(rng.randrange(1, 40))
    packed = zlib.compress(bytes(samples), rng.randrange(10))
    if how == 3:  # a wrong checksum of the samples, or bytes after them
        packed = packed[:-1] + b"\0" if rng.random() < 0.5 else packed + rng.randbytes(9)
    first = next((i for i, part in enumerate(parts) if part[4:8] == b"IDAT"), 0)
    others = [part for part in parts if part[4:8] != b"IDAT"]
    others.insert(first, _png_part(bytes(4) + b"IDAT", packed))
    return join(others)


def with_checksums(data: bytes) -> bytes:
    """Return a damaged PNG with the checksums that make its damage matter."""
    if not data.startswith(b"\x89PNG"):
        return data
    return data[:8] + b"".join(_png_part(part, part[8:-4]) for part in _png_parts(data))


DAMAGES = (
    flip_bits,
    flip_bits,
    flip_in_header,
    truncate,
    truncate_end,
    insert,
    remove,
    zeros,
    swap_parts,
    drop_part,
    repeat_part,
    edit_part,
    edit_part,
    cut_part,
    add_metadata,
    edit_pixels,
)


def mutants(sources: list[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield a description and the bytes of each mutant."""
    for i in range(count):
        rng = random.Random(f"{seed}/{i}")
        source = sources[i % len(sources)]
        data = source.read_bytes()
        names = []
        for _ in range(rng.choice((1, 1, 1, 2))):
            damage = rng.choice(DAMAGES)
            names.append(damage.__name__)
            if len(data) > 16:
                data = damage(data, rng)
        if rng.random() < 0.5:
            data = with_checksums(data)
        yield f"{i}: {'+'.join(names)} of {source.name}", data


def make_sources(folder: Path) -> list[Path]:
    """Write small images of the kinds that collections have few of, and return their paths."""
    yy, xx = np.mgrid[:33, :47]
    rgb = np.stack([yy * 7, xx * 5, (yy + xx) * 3], axis=2).astype(np.uint8)
    alpha = np.dstack([rgb, (xx * 5).astype(np.uint8)])
    colour, clear = Image.fromarray(rgb), Image.fromarray(alpha)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("lossy.webp", colour, {"quality": 70}),
        ("lossless.webp", colour, {"lossless": True}),
        ("lossy_alpha.webp", clear, {"quality": 70}),
        ("lossless_alpha.webp", clear, {"lossless": True}),
        ("exif.webp", clear, {"exif": exif}),
        ("animated.webp", clear, {"save_all": True, "append_images": [colour.rotate(90)]}),
        ("444.jpg", colour, {"subsampling": 0}),
        ("422.jpg", colour, {"subsampling": 1, "exif": exif}),
        ("420_restarts.jpg", colour, {"subsampling": 2, "restart_marker_blocks": 2}),
        ("progressive.jpg", colour, {"progressive": True}),
        ("gray.jpg", colour.convert("L"), {}),
        ("gray_progressive.jpg", colour.convert("L"), {"progressive": True}),
        ("cmyk.jpg", colour.convert("CMYK"), {}),
        ("exif.png", clear, {"exif": exif}),
        ("palette.png", colour.quantize(16), {"transparency": 3}),
        ("gray16.png", Image.fromarray((xx * 999).astype(np.uint16)), {}),
    ]
    for name, image, options in kinds:
        image.save(folder / name, **options)
    return [folder / name for name, _, _ in kinds]


# The command --------------------------------------------------------------------------------------


def find_files(paths: list[Path]) -> list[Path]:
    """Return the files of the paths, and of all folders below them."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file())
        else:
            found.append(path)
    return [p for p in found if p.suffix not in (".txt", ".tsv", ".md", ".markdown")]


def main() -> int:
    """Run the comparison and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--tool", required=True, help="the program decode_tool")
    parser.add_argument("--mutants", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the images that differ")
    args = parser.parse_args()
    files = find_files(args.paths)
    tool, counts = Tool(args.tool), collections.Counter[str]()
    examples: dict[str, list[str]] = collections.defaultdict(list)

    def check(name: str, path: str, data: bytes) -> None:
        found = compare(tool.read(path), python_read(path), data.startswith(b"\xff\xd8\xff"))
        if found.startswith("only Python refuses: not an image") and UNKNOWN_MARKER in data:
            found = "format: marker TEM in a JPEG, which Pillow does not know"
        counts[found] += 1
        if found.startswith(("equal", "both", "format")):
            return
        examples[found].append(name)
        if args.keep and len(examples[found]) <= 20:
            args.keep.mkdir(parents=True, exist_ok=True)
            (args.keep / re.sub(r"\W+", "_", f"{found[:40]} {name}")).write_bytes(data)

    if args.mutants:
        files = [p for p in files if p.suffix.lower() in SUFFIXES if p.stat().st_size <= MAX_BYTES]
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            files += make_sources(Path(folder)) * max(1, len(files) // 32)
            path = os.path.join(folder, "mutant")
            for name, data in mutants(files, args.mutants, args.seed):
                Path(path).write_bytes(data)
                check(name, path, data)
    else:
        for file in files:
            check(str(file), str(file), file.read_bytes())
    for found, count in counts.most_common():
        print(f"{count:7d}  {found}")
        for name in examples[found][:5]:
            print(f"           {name}")
    bad = [found for found in counts if not is_explained(found)]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
