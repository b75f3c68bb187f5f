"""The C++ program against `ppcls predict`, if `make cpp` has built it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, SHARED, smallest_of_each_family

from ppcls.cli import main
from ppcls.data.image import read
from ppcls.errors import ImageError
from ppcls.inference.predictor import Predictor

BUILD = Path(os.environ.get("PPCLS_CPP_BUILD", ROOT / "build/cpp"))
PROGRAM = BUILD / "ppcls_predict"
SAMPLE = SHARED / "data/imagenet_sample"
MUTANTS = 10_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.skipif(not PROGRAM.exists(), reason="`make cpp` has not built the program"),
]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, timeout=600
    )


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_records_and_errors_are_those_of_python(tmp_path: Path, capsys) -> None:
    images, bundle = ROOT / "tests/vectors/images", ROOT / "tests/vectors/bundles/single_label"
    (tmp_path / "list.txt").write_text(f"{images / 'png_rgb.png'} 3\n{images / 'png_rgb.png'} 0\n")
    (tmp_path / "labels.txt").write_text(f"{images / 'png_rgb.png'} 9\n")
    cases = [
        [bundle, images / "png_rgb.png", images / "empty.png", images / "png_gray_16.png"],
        [bundle, tmp_path / "list.txt"],
        [bundle, tmp_path / "labels.txt"],
        [bundle, tmp_path / "none"],
        [tmp_path, images],
        [bundle, images / "png_rgb.png", "--topk", 2, "--threshold", 0.1],
        [bundle.with_name("multi_label"), images / "png_rgb.png", "--format", "table"],
    ]
    for case in cases:
        arguments = ["--backend", "openvino", "--threads", 1, *case]
        done = run(*arguments)
        status = main(["predict", *map(str, arguments)])
        shown = capsys.readouterr()
        assert done.returncode == status, done.stderr
        assert done.stdout == shown.out
        assert done.stderr.replace("ppcls_predict:", "ppcls:") == shown.err


@pytest.mark.parametrize("arch", smallest_of_each_family())
def test_each_family_gives_pythons_classes(arch: str, tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        noise = cv2.resize(rng.integers(0, 255, (7, 9, 3), np.uint8), (300, 260))
        cv2.imwrite(str(tmp_path / f"{i}.jpg"), noise)
    bundle = tmp_path / "bundle"
    assert main(["export", arch, str(bundle), "--allow-random", "--onnx", "--no-check"]) == 0
    capsys.readouterr()
    done = run("--backend", "openvino", bundle, tmp_path)
    assert done.returncode == 0, done.stderr
    with Predictor(bundle, backend="openvino") as predictor:
        for mine, its in zip(records(done.stdout), predictor.predict(tmp_path), strict=True):
            assert mine["class_ids"] == its.class_ids
            np.testing.assert_allclose(mine["scores"], its.scores, rtol=0, atol=1e-4)


def test_published_weights_give_pythons_classes(tmp_path: Path, capsys) -> None:
    weights = sorted((SHARED / "data/weights").glob("SqueezeNet1_1.*"))
    if not weights or not SAMPLE.exists():
        pytest.skip("the weights or images are not here")
    bundle = tmp_path / "bundle"
    asked = ["export", "SqueezeNet1_1", str(bundle), "--weights", str(weights[0]), "--onnx"]
    assert main([*asked, "--no-check"]) == 0
    capsys.readouterr()
    done = run("--backend", "openvino", bundle, SAMPLE)
    with Predictor(bundle, backend="openvino") as predictor:
        expected = list(predictor.predict(SAMPLE))
    mine = records(done.stdout)
    assert len(mine) == len(expected) >= 100
    for one, its in zip(mine, expected, strict=True):
        assert one["class_ids"] == its.class_ids, its.source
        np.testing.assert_allclose(one["scores"], its.scores, rtol=0, atol=1e-4)


class Decoder:
    """The pixels of images as C++ reads them, or its error."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [str(BUILD / "tests/decode_tool")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __call__(self, path: Path) -> np.ndarray | str:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(os.fsencode(path) + b"\n")
        stdin.flush()
        line = stdout.readline().decode(errors="replace")
        assert line, f"{path}: the decoder ended"
        if line.startswith("error"):
            return line
        height, width = map(int, line.split())
        return np.frombuffer(stdout.read(height * width * 3), np.uint8).reshape(height, width, 3)


def differs(path: Path, decoder: Decoder) -> str:
    """Return how the two decoders differ, or nothing."""
    mine = decoder(path)
    if isinstance(mine, str) and "(JPEG, PNG, WebP)" in mine:
        return ""
    try:
        its: np.ndarray | None = read(path)
    except ImageError as error:
        if "APNG contains invalid frames" in error.reason:
            return ""  # C++ reads the first frame, and does not look at the others
        its = None
    if isinstance(mine, str) or its is None:
        if isinstance(mine, str) and its is None:
            return ""
        return mine if isinstance(mine, str) else f"{path}: only Python refuses"
    same = mine.shape == its.shape and np.abs(mine.astype(int) - its).max() <= 1
    return "" if same else f"{path}: other pixels"


def test_odd_images_and_mutants_are_read_or_refused_alike(tmp_path: Path) -> None:
    folder = SHARED / "data/odd_images"
    if not folder.exists():
        pytest.skip("the odd images are not here")
    sources = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size < 200_000]
    decoder, rng = Decoder(), np.random.default_rng(0)
    signatures = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")
    originals = [d for p in sources if (d := p.read_bytes()).startswith(signatures)]
    wrong = [text for path in sources if (text := differs(path, decoder))]
    mutant, count = tmp_path / "mutant", int(os.environ.get("PPCLS_MUTANTS", MUTANTS))
    for number in range(count):
        data = bytearray(originals[number % len(originals)])
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(len(data))] = rng.integers(256)
        mutant.write_bytes(data[: rng.integers(1, len(data))] if number % 5 == 0 else data)
        if text := differs(mutant, decoder):
            wrong.append(f"mutant {number}: {text}")
    decoder.process.kill()
    # Pillow reads some damaged files that C++ refuses. Never the other way round, nor with other
    # pixels.
    refused = [text for text in wrong if "error " in text]
    if len(refused) < len(wrong) or len(refused) > 2 + count // 1000:
        pytest.fail("\n".join(wrong), pytrace=False)
