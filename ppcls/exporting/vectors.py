"""Test vectors: small images, their pixels after each transform, and predictions of tiny networks.

`python -m ppcls.exporting.vectors tests/vectors` writes them. Other implementations, such as the
C++ library, prove themselves against them. Needs the extra `onnx`.

`vectors.json` has the lists `images`, `transforms` and `bundles`; arrays lie in `arrays.bin`, C
order, little endian: `{"dtype": "uint8", "shape": [H, W, C], "offset": 0}`.
"""

from __future__ import annotations

import io
import json
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from PIL import Image

from ppcls.bundle import GRAPH_FILE, ONNX_FILE, WEIGHTS_FILE, image_ops_of, write_bundle
from ppcls.data.image import read
from ppcls.data.transforms.colour_geometry import Pad
from ppcls.data.transforms.normalize import NormalizeImage, ToCHWImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import CropImage, DecodeImage, ResizeImage
from ppcls.errors import ImageError
from ppcls.exporting.graph import INPUT_NAME, GraphOptions, write_graph
from ppcls.exporting.onnx import write_onnx
from ppcls.inference.predictor import Predictor
from ppcls.models.base import ImageClassifier

__all__ = ["EXPECTED", "image_files", "recorded_transforms", "write_vectors"]

EXPECTED = "vectors.json"
_ARRAYS = "arrays.bin"
_WIDTH, _HEIGHT = 29, 20
_LABELS = ["fish", "pâté 🐟", 'a "quoted" one', "no", "5"]


def _picture(width: int = _WIDTH, height: int = _HEIGHT) -> np.ndarray:
    """Return smooth colours with a little noise, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 5 + y / 9), np.cos(x / 11 - y / 4), np.sin((x + 2 * y) / 13)]
    noise = np.random.default_rng(0).normal(0, 6, (height, width, 3))
    return np.clip(127 + 100 * np.stack(waves, axis=2) + noise, 0, 255).astype(np.uint8)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _rows(samples: np.ndarray, bits: int) -> bytes:
    """Return unfiltered rows of a PNG from samples (H, W, C)."""
    flat = samples.reshape(len(samples), -1)
    if bits == 16:
        packed = flat.astype(">u2").view(np.uint8)
    elif bits == 8:
        packed = flat.astype(np.uint8)
    else:
        digits = (flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        packed = np.packbits(digits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


# Adam7: first column and row, and the steps, of each pass.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_LAST_PASS = (0, 1, 1, 2)


def _png(
    samples: np.ndarray, bits: int, colour_type: int, *chunks: bytes, interlaced: bool = False
) -> bytes:
    """Return a PNG of any bit depth from samples (H, W, C)."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    data = _rows(samples, bits)
    if interlaced:
        parts = (samples[y::down, x::across] for x, y, across, down in (*_PASSES, _LAST_PASS))
        data = b"".join(_rows(part, bits) for part in parts if part.size)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            *chunks,
            _chunk(b"IDAT", zlib.compress(data, 9)),
            _chunk(b"IEND", b""),
        ]
    )


def image_files() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each image; some are damaged on purpose."""
    yield from _jpegs()
    yield from _pngs()
    yield from _webps()
    yield "empty.png", b""
    yield "text.jpg", b"this is no image"
    yield "gif.gif", _saved(Image.fromarray(_picture(8, 6)).convert("P"), "GIF")


def _jpegs() -> Iterator[tuple[str, bytes]]:
    rgb = Image.fromarray(_picture())
    plain = _saved(rgb, "JPEG", quality=80, subsampling=2)
    yield "jpeg_420.jpg", plain
    yield "jpeg_422.jpg", _saved(rgb, "JPEG", quality=80, subsampling=1)
    yield "jpeg_444.jpg", _saved(rgb, "JPEG", quality=90, subsampling=0)
    yield "jpeg_gray.jpg", _saved(rgb.convert("L"), "JPEG")
    yield "jpeg_progressive.jpg", _saved(rgb, "JPEG", progressive=True)
    yield "jpeg_restart.jpg", _saved(rgb, "JPEG", restart_marker_blocks=1)
    yield "jpeg_cmyk.jpg", _saved(rgb.convert("CMYK"), "JPEG")
    small = Image.fromarray(_picture(11, 7))
    for orientation in range(1, 9):
        data = _saved(small, "JPEG", exif=_exif(orientation), subsampling=0)
        yield f"jpeg_exif_{orientation}.jpg", data
    yield "jpeg_truncated.jpg", plain[: len(plain) * 2 // 3]
    yield "jpeg_without_scan.jpg", plain[:300]
    at = plain.index(b"\xff\xda")
    yield "jpeg_stray_bytes.jpg", plain[:at] + b"\0\0\0" + plain[at:]
    frame = plain.index(b"\xff\xc0")
    huge = struct.pack(">HH", 60000, 60000)
    yield "jpeg_too_large.jpg", plain[: frame + 5] + huge + plain[frame + 9 :]
    many = _saved(small, "JPEG", progressive=True)
    yield "jpeg_scans.jpg", many[:-2] + many[many.index(b"\xff\xda") : -2] * 20 + many[-2:]


def _pngs() -> Iterator[tuple[str, bytes]]:
    rgb, gray = _picture(), _picture()[..., :1]
    alpha = np.linspace(0, 255, gray.size).reshape(gray.shape).astype(np.uint8)
    wide = gray.astype(np.uint16) * 256 + rgb[..., 1:2]
    for bits in (1, 2, 4):
        yield f"png_gray_{bits}.png", _png(gray >> (8 - bits), bits, 0)
    yield "png_gray_8.png", _png(gray, 8, 0)
    yield "png_gray_16.png", _png(wide, 16, 0)
    yield "png_gray_alpha.png", _png(np.dstack([gray, alpha]), 8, 4)
    yield "png_gray_4_transparent.png", _png(gray >> 4, 4, 0, _chunk(b"tRNS", b"\0\x09"))
    yield "png_rgb.png", _png(rgb, 8, 2)
    yield "png_rgb_interlaced.png", _png(rgb, 8, 2, interlaced=True)
    yield "png_rgb_16.png", _png(rgb.astype(np.uint16) * 257 ^ 5, 16, 2)
    colour = struct.pack(">HHH", *rgb[3, 4].tolist())
    yield "png_rgb_transparent.png", _png(rgb, 8, 2, _chunk(b"tRNS", colour))
    yield "png_rgba.png", _png(np.dstack([rgb, alpha]), 8, 6)
    yield "png_rgba_interlaced.png", _png(np.dstack([rgb, alpha]), 8, 6, interlaced=True)
    palette = _chunk(b"PLTE", _picture(16, 1).tobytes())
    yield "png_palette_4.png", _png(gray >> 4, 4, 3, palette)
    transparent = _chunk(b"tRNS", bytes([0, 50, 200]))
    yield "png_palette_8_transparent.png", _png(gray >> 4, 8, 3, palette, transparent)
    turned = _chunk(b"eXIf", _exif(6).removeprefix(b"Exif\0\0"))
    yield "png_exif_6.png", _png(_picture(11, 7), 8, 2, turned)
    whole = _png(rgb, 8, 2)
    yield "png_truncated.png", whole[: len(whole) // 2]
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    yield "png_damaged.png", bytes(damaged)


def _webps() -> Iterator[tuple[str, bytes]]:
    rgb = Image.fromarray(_picture())
    rgba = rgb.convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize(rgb.size))
    lossy = _saved(rgb, "WEBP", quality=70)
    yield "webp_lossy.webp", lossy
    yield "webp_lossless.webp", _saved(rgb, "WEBP", lossless=True)
    yield "webp_alpha.webp", _saved(rgba, "WEBP", lossless=True)
    yield "webp_exif_8.webp", _saved(rgb.resize((11, 7)), "WEBP", exif=_exif(8))
    yield "webp_truncated.webp", lossy[: len(lossy) // 2]


# Transforms ---------------------------------------------------------------------------------------

_PHOTO, _SMALL = "png_rgb.png", "jpeg_exif_6.jpg"
_CASES: dict[str, tuple[str, int, list[Any]]] = {
    "eval": (_PHOTO, 3, [ResizeImage(resize_short=16), CropImage(size=14), NormalizeImage()]),
    "size": (_PHOTO, 3, [ResizeImage(size=[20, 11])]),
    "cover": (_PHOTO, 3, [ResizeImage(cover=[12, 16]), CropImage(size=[12, 16])]),
    "enlarged": (_SMALL, 3, [ResizeImage(resize_short=12), CropImage(size=12)]),
    "padded crop": (_SMALL, 3, [CropImage(size=[16, 9])]),
    "pad": (_SMALL, 3, [CropImage(size=6), Pad(padding=[1, 2, 3, 4], fill=[9, 0, 200])]),
    "gray": (
        _PHOTO,
        1,
        [ResizeImage(size=12), Pad(padding=1, fill=[9, 0, 200]), NormalizeImage()],
    ),
    "gray, as Pillow": (_PHOTO, 1, [ResizeImage(size=12, backend="pil")]),
    "own normalisation": (
        _PHOTO,
        3,
        [ResizeImage(size=12), NormalizeImage(scale=0.00392157, mean=[0.5], std=[0.25])],
    ),
    **{
        f"{how}, {backend}": (
            _PHOTO,
            3,
            [
                ResizeImage.model_validate(
                    {"size": [11, 7], "backend": backend, "interpolation": how}
                )
            ],
        )
        for backend, filters in (
            ("cv2", ("nearest", "bilinear", "bicubic", "area", "lanczos")),
            ("pil", ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")),
        )
        for how in filters
    },
}


def recorded_transforms() -> Iterator[tuple[str, str, Pipeline]]:
    """Yield the name, the image and the transforms of each case."""
    for name, (image, channels, ops) in _CASES.items():
        decode = DecodeImage(channels=None if channels == 3 else channels)
        yield name, image, Pipeline([decode, *ops, ToCHWImage()])


def stages(pipeline: Pipeline, source: Any) -> list[np.ndarray]:
    """Return an image after each transform, uint8 (H, W, C), decoding included."""
    found = []
    for op in pipeline.image_ops:
        source = op(source, np.random.default_rng(0))
        found.append(np.atleast_3d(source))
    return found


# Networks -----------------------------------------------------------------------------------------


class _Tiny(ImageClassifier):
    """A convolution and a linear layer."""

    name = "Tiny"
    head = "fc"
    first_conv = "conv"

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.conv = nn.Conv2D(channels, 6, 5, stride=3)
        self.fc = nn.Linear(6, classes)
        rng = np.random.default_rng(1)
        for weight in self.parameters():
            weight.set_value(rng.normal(0, 0.6, weight.shape).astype(np.float32))

    def forward_features(self, x: Tensor) -> list[Tensor]:
        return [paddle.nn.functional.relu(self.conv(x))]

    def forward_head(self, x: Tensor) -> Tensor:
        return self.fc(paddle.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


def _write_bundle(folder: Path, ops: Sequence[Any], options: GraphOptions, **output: Any) -> None:
    pipeline = Pipeline(ops)
    channels, height, width = options.shape
    model = _Tiny(channels, len(_LABELS))
    folder.mkdir(parents=True)
    write_graph(model, options, folder, "json")
    write_onnx(folder, folder / ONNX_FILE)
    takes_pixels = options.affine is not None
    layout = [height, width, channels] if takes_pixels else [channels, height, width]
    threshold = output.pop("threshold", None)
    post: dict[str, Any] = {"Topk": {"topk": 3, "label_list": _LABELS}}
    if threshold is not None:
        post = {"MultiLabelThreshOutput": {"threshold": threshold, "label_list": _LABELS}}
    spec = {
        "Global": {"model_name": _Tiny.name},
        "card": {},
        "config_sha256": "0" * 64,
        "Input": {
            "name": INPUT_NAME,
            "shape": [-1, *layout],
            "dtype": "uint8" if takes_pixels else "float32",
            "layout": "NHWC" if takes_pixels else "NCHW",
            "color": "gray" if channels == 1 else "RGB",
            "range": [0.0, 255.0],
            "decode": pipeline.image_ops[0],
        },
        "Output": {"classes": len(_LABELS), **output},
        "PreProcess": {"transform_ops": image_ops_of(pipeline.ops, normalized=not takes_pixels)},
        "PostProcess": post,
        "parity": {"verified": False},
        "versions": {},
    }
    write_bundle(folder, spec, [GRAPH_FILE, WEIGHTS_FILE, ONNX_FILE])


def _write_bundles(folder: Path) -> list[str]:
    usual = [ResizeImage(resize_short=28), CropImage(size=24), NormalizeImage()]
    rgb = [DecodeImage(), *usual]
    shape = (3, 24, 24)
    affine = [values.tolist() for values in Pipeline(rgb).affine]
    _write_bundle(folder / "single_label", rgb, GraphOptions(shape))
    _write_bundle(folder / "softmax", rgb, GraphOptions(shape, "softmax"), softmax=True)
    _write_bundle(
        folder / "uint8", rgb, GraphOptions(shape, features=True, affine=(affine[0], affine[1]))
    )
    _write_bundle(folder / "gray", [DecodeImage(channels=1), *usual], GraphOptions((1, 24, 24)))
    task = {"task": "multi_label", "threshold": [0.9, 0.2, 0.5, 0.4, 0.6]}
    _write_bundle(folder / "multi_label", rgb, GraphOptions(shape), **task)
    _write_bundle(
        folder / "sigmoid",
        rgb,
        GraphOptions(shape, "sigmoid"),
        sigmoid=True,
        **task | {"threshold": 0.5},
    )
    return sorted(path.name for path in folder.iterdir())


class _Arrays:
    """Collects arrays for `arrays.bin`."""

    def __init__(self) -> None:
        self.data = b""

    def add(self, array: np.ndarray) -> dict[str, Any]:
        """Return the place of an array."""
        place = {"dtype": str(array.dtype), "shape": list(array.shape), "offset": len(self.data)}
        self.data += np.ascontiguousarray(array).tobytes()
        return place


def write_vectors(folder: Path) -> None:
    """Write the vectors into a folder; those of an earlier version are replaced."""
    images, bundles = folder / "images", folder / "bundles"
    for old in (images, bundles):
        shutil.rmtree(old, ignore_errors=True)
    images.mkdir(parents=True)
    arrays = _Arrays()
    vectors: dict[str, list[Any]] = {"images": [], "transforms": [], "bundles": []}
    for name, data in image_files():
        (images / name).write_bytes(data)
        record: dict[str, Any] = {"file": name}
        try:
            record["pixels"] = arrays.add(read(data))
        except ImageError as error:
            record |= {"error": error.reason, "recognised": error.recognised}
        vectors["images"].append(record)
    for name, image, pipeline in recorded_transforms():
        found = stages(pipeline, images / image)
        vectors["transforms"].append(
            {
                "name": name,
                "image": image,
                "channels": pipeline.channels,
                "transform_ops": image_ops_of(pipeline.ops, normalized=True),
                "stages": [arrays.add(stage) for stage in found],
                "tensor": arrays.add(pipeline.normalize(found[-1][None])[0]),
            }
        )
    for name in _write_bundles(bundles):
        with Predictor(bundles / name, backend="onnxruntime", batch_size=4) as predictor:
            results = predictor.predict(sorted(images.iterdir()))
            records = [
                result.to_dict() | {"filename": Path(result.source).name}
                for result in results
                if result.error is None
            ]
        vectors["bundles"].append({"folder": name, "records": records})
    (folder / _ARRAYS).write_bytes(arrays.data)
    text = ",\n\n".join(f'"{key}": [\n{_lines(entries)}\n]' for key, entries in vectors.items())
    (folder / EXPECTED).write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


def _lines(entries: Sequence[Any]) -> str:
    return ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)


if __name__ == "__main__":
    write_vectors(Path(sys.argv[1]))
