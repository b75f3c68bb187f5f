"""The recorded vectors: the same files that the C++ library's tests read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ppcls.data.image import read
from ppcls.errors import ImageError
from ppcls.exporting.vectors import EXPECTED, image_files, recorded_transforms, stages
from ppcls.inference.backends import BACKENDS
from ppcls.inference.predictor import Predictor

VECTORS = Path(__file__).parents[1] / "vectors"
IMAGES = VECTORS / "images"


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads((VECTORS / EXPECTED).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def arrays() -> bytes:
    return (VECTORS / "arrays.bin").read_bytes()


def array(data: bytes, place: dict[str, Any]) -> np.ndarray:
    count = int(np.prod(place["shape"]))
    return np.frombuffer(data, place["dtype"], count, place["offset"]).reshape(place["shape"])


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return np.abs(a.astype(float) - b).max()


def test_images_have_the_recorded_pixels_or_are_refused(recorded, arrays) -> None:
    assert [one["file"] for one in recorded["images"]] == [name for name, _ in image_files()]
    for one in recorded["images"]:
        path = IMAGES / one["file"]
        if "error" in one:
            with pytest.raises(ImageError) as refused:
                read(path)
            assert refused.value.recognised == one["recognised"], path
        else:
            most = 1 if path.suffix in (".jpg", ".webp") else 0
            assert difference(read(path), array(arrays, one["pixels"])) <= most, path


def test_transforms_give_the_recorded_pixels_and_tensors(recorded, arrays) -> None:
    cases = {name: (image, pipeline) for name, image, pipeline in recorded_transforms()}
    assert list(cases) == [one["name"] for one in recorded["transforms"]]
    for one in recorded["transforms"]:
        image, pipeline = cases[one["name"]]
        expected = [array(arrays, place) for place in one["stages"]]
        found = stages(pipeline, IMAGES / image)
        assert len(found) == len(expected)
        for mine, its in zip(found, expected, strict=True):
            assert difference(mine, its) <= 1, one["name"]
        tensor = pipeline.normalize(expected[-1][None])[0]
        assert difference(tensor, array(arrays, one["tensor"])) <= 1e-6, one["name"]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "paddle"])
def test_networks_give_the_recorded_predictions(recorded, backend: str) -> None:
    if BACKENDS[backend].capability().version is None:
        pytest.skip(f"{backend} is not installed")
    for one in recorded["bundles"]:
        names = [record["filename"] for record in one["records"]]
        with Predictor(VECTORS / "bundles" / one["folder"], backend=backend) as predictor:
            for record, found in zip(
                one["records"], predictor.predict([IMAGES / name for name in names]), strict=True
            ):
                assert found.class_ids == record["class_ids"], (one["folder"], found.source)
                assert found.label_names == record["label_names"]
                np.testing.assert_allclose(found.scores, record["scores"], rtol=0, atol=1e-4)
