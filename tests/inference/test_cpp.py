"""The C++ program against `ppcls predict`, if `make cpp` has built it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT, SHARED, smallest_of_each_family

from ppcls.cli import main
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


def test_odd_images_and_mutants_have_the_same_pixels() -> None:
    folder = SHARED / "data/odd_images"
    if not folder.exists():
        pytest.skip("the odd images are not here")
    script = ROOT / "deploy/cpp/tests/compare_decoding.py"
    tool = ["--tool", str(BUILD / "tests/decode_tool")]
    for mutants in ("0", str(MUTANTS)):
        command = [sys.executable, str(script), *tool, "--mutants", mutants, str(folder)]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr
