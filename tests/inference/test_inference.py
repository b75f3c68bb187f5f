"""Prediction: what goes in comes out in its place, whatever runs the network."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from ppcls.data.transforms.normalize import NormalizeImage
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.data.transforms.resize_crop import DecodeImage, ResizeImage
from ppcls.errors import BundleError, ConfigError, DataError, MissingDependencyError, RunError
from ppcls.inference.backends import (
    BACKENDS,
    Capability,
    EngineBackend,
    open_backend,
    register_backend,
)
from ppcls.inference.predictor import Classifier, Predictor
from ppcls.inference.results import best_classes, softmax

PIPELINE = Pipeline([DecodeImage(), ResizeImage(size=8), NormalizeImage(scale=1.0)])


class Colours:
    """A network whose logits are the mean of each channel, and which notes its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.batches.append(len(batch))
        return batch.mean(axis=(2, 3))


def classifier(**options) -> Classifier:
    return Classifier(Colours(), PIPELINE, ["r", "g", "b"], **options)


def plain(channel: int) -> np.ndarray:
    picture = np.zeros((6, 5, 3), np.uint8)
    picture[..., channel] = 255
    return picture


def png(channel: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(plain(channel)).save(file, "PNG")
    return file.getvalue()


def best(results) -> list[int | None]:
    return [r.class_ids[0] if r.error is None else None for r in results]


def test_every_kind_of_input_is_one_image(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(png(2))
    one = classifier(topk=1)
    for source in (
        tmp_path / "b.png",
        str(tmp_path / "b.png"),
        str(tmp_path / "?.png"),
        tmp_path,
        png(2),
        bytearray(png(2)),
        memoryview(png(2)),
        io.BytesIO(png(2)),
        Image.fromarray(plain(2)),
        plain(2),
        plain(2)[None],
        [tmp_path / "b.png"],
        (png(2),),
        iter([plain(2)]),
    ):
        (result,) = one.predict(source)
        assert result.error is None, source
        assert (result.class_ids, result.label_names) == ([2], ["b"]), source


def test_folders_are_searched_through_and_lists_read_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    for i, name in enumerate(("a/1.PNG", "a/deep/2.Png", "a/3.png")):
        (tmp_path / name).write_bytes(png(i))
    (tmp_path / "a" / "notes.md").write_text("not a picture")
    (tmp_path / "list.TXT").write_text("a/3.png\na/1.PNG 7\n")
    results = list(classifier(batch_size=2).predict([tmp_path / "a", tmp_path / "list.TXT"]))
    assert best(results) == [0, 2, 1, 2, 0]
    assert [Path(r.source).name for r in results] == [
        "1.PNG",
        "3.png",
        "2.Png",
        "3.png",
        "1.PNG",
    ]


def test_bad_images_keep_their_place_among_thousands(tmp_path: Path) -> None:
    good, broken = png(1), png(1)[:-30]
    sources = [broken if i % 7 == 3 else good for i in range(3000)]
    results = list(classifier(batch_size=16, workers=3).predict(sources))
    assert best(results) == [None if i % 7 == 3 else 1 for i in range(3000)]
    assert "truncated" in results[3].error


def test_only_bad_images_reach_no_network() -> None:
    one = classifier()
    assert best(one.predict([b"x", b"", "gone.png"])) == [None, None, None]
    assert one._backend.batches == []


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_wrong_channels_are_an_error_of_that_image(wrong: np.ndarray) -> None:
    results = list(classifier().predict([plain(0), wrong, plain(1)]))
    assert best(results) == [0, None, 1]
    assert "must be uint8 (H, W, 3) RGB" in results[1].error


def test_no_images_at_all(tmp_path: Path) -> None:
    assert list(classifier().predict([])) == []
    assert list(classifier().predict(np.zeros((0, 4, 4, 3), np.uint8))) == []
    with pytest.raises(DataError, match="no images in this folder"):
        classifier().predict(tmp_path)


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "closed").mkdir()
    real = __import__("os").scandir

    def refuse(path):
        # The tests may run as a user to whom nothing is forbidden.
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match="closed: cannot read the folder: Permission denied"):
        classifier().predict(tmp_path)


def test_a_batch_is_what_is_ready_and_lists_fill_it() -> None:
    one = classifier(batch_size=4)
    assert len(list(one.predict([png(0)] * 10))) == 10
    assert one._backend.batches == [4, 4, 2]

    asked = threading.Event()

    def camera() -> Iterator[np.ndarray]:
        yield plain(0)
        assert asked.wait(600), "the first answer must not wait for the second frame"
        yield plain(1)

    results = one.predict(camera())
    assert next(results).class_ids[0] == 0
    asked.set()
    assert next(results).class_ids[0] == 1


def test_frames_in_one_reused_buffer_are_answered_right() -> None:
    def frames() -> Iterator[np.ndarray]:
        buffer = np.zeros((6, 5, 3), np.uint8)
        for i in range(100):
            buffer[:] = plain(i % 3)
            yield buffer

    assert best(classifier(batch_size=8).predict(frames())) == [i % 3 for i in range(100)]


def test_sources_are_read_ahead_only_so_far() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield png(0)

    results = classifier(batch_size=4).predict(endless())
    for _ in range(8):
        next(results)
    results.close()
    assert taken <= 8 + 4 + 2 * 4 + 2


def test_what_a_generator_raises_arrives_after_its_images() -> None:
    def failing() -> Iterator[np.ndarray]:
        yield plain(1)
        raise KeyError("camera")

    results = classifier().predict(failing())
    assert next(results).class_ids[0] == 1
    with pytest.raises(KeyError, match="camera"):
        next(results)


def test_threads_share_a_predictor() -> None:
    one, answers = classifier(batch_size=3), {}

    def work(channel: int) -> None:
        answers[channel] = best(one.predict([png(channel)] * 50))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {i: [i] * 50 for i in range(3)}


def test_a_closed_predictor_says_so_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with classifier() as one:
        list(one.predict([png(0)] * 5))
    assert not set(threading.enumerate()) - before
    for several in (1, 2):
        with pytest.raises(RunError, match="closed"):
            list(one.predict([plain(0)] * several))


def test_timing_logits_and_threshold_on_request() -> None:
    one = classifier(topk=3, threshold=0.5)
    (result,) = one.predict(plain(1))
    assert (result.class_ids, result.timing, result.logits) == ([1], None, None)
    (result,) = one.predict(plain(1), timing=True)
    assert result.timing.batch_size == 1
    assert result.timing.preprocess_ms > 0
    assert {"preprocess_ms", "compute_ms", "batch_size"} < result.to_dict().keys()
    bad, good = one.predict_logits([b"x", plain(1)])
    assert "not an image" in bad.error
    assert good.logits.shape == (3,)
    assert good.logits.argmax() == 1


def test_a_network_that_gives_scores() -> None:
    class Scores(Colours):
        def run(self, batch: np.ndarray) -> np.ndarray:
            return softmax(super().run(batch)).astype(np.float32)

    one = Classifier(Scores(), PIPELINE, ["r", "g", "b"], topk=1, gives_scores=True)
    (logits,) = classifier(topk=1).predict(plain(2))
    (scores,) = one.predict(plain(2))
    assert scores.class_ids == logits.class_ids
    np.testing.assert_allclose(scores.scores, logits.scores, atol=1e-6)
    with pytest.raises(ConfigError, match="exported with a softmax"):
        one.predict_logits(plain(2))


def test_answers_that_are_no_numbers_are_errors() -> None:
    class Broken(Colours):
        def run(self, batch: np.ndarray) -> np.ndarray:
            out = super().run(batch)
            out[0] = np.nan
            return out

    one = Classifier(Broken(), PIPELINE, ["r", "g", "b"])
    first, second = one.predict([plain(0), plain(1)])
    assert first.error.startswith("the network's output is not finite: its weights are at fault")
    assert second.class_ids[0] == 1


def test_best_classes_of_equal_scores_come_in_order() -> None:
    assert best_classes(np.array([[1.0, 3, 3, 2]]), 3).tolist() == [[1, 2, 3]]


def test_urls_are_fetched_only_if_allowed() -> None:
    (refused,) = classifier().predict("http://127.0.0.1:9/a.png")
    assert "fetching URLs is off" in refused.error
    (failed,) = classifier(allow_url=True).predict("http://127.0.0.1:9/a.png")
    assert failed.error.startswith("http://127.0.0.1:9/a.png: cannot fetch the image")


def test_backends_that_cannot_say_why(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="no such backend: 'openvin'; did you mean 'openvino'"):
        open_backend("openvin", tmp_path)
    with pytest.raises(MissingDependencyError, match=r"tensorrt cannot be used: .*TensorRT"):
        open_backend("tensorrt", tmp_path)
    with pytest.raises(BundleError, match=r"has no inference\.onnx, which openvino"):
        open_backend("auto", tmp_path)
    with pytest.raises(RunError, match="no installed backend runs it in fp16 on cpu"):
        open_backend("auto", tmp_path, device="cpu", precision="fp16")
    with pytest.raises(ConfigError, match=r"paddle computes in fp32.* on this cpu, not fp16"):
        open_backend("paddle", tmp_path, device="cpu", precision="fp16")
    with pytest.raises(BundleError, match=r"no inference\.json or inference\.pdmodel"):
        open_backend("paddle", tmp_path)
    with pytest.raises(BundleError, match="onnxruntime runs; `ppcls export --onnx` writes one"):
        open_backend("onnxruntime", tmp_path)
    with pytest.raises(ConfigError, match="'paddle-openvino' was removed: use openvino"):
        open_backend("paddle-openvino", tmp_path)
    with pytest.raises(ConfigError, match="paddle has no option 'gpu_memory_mb' on this cpu"):
        open_backend("paddle", tmp_path, device="cpu", gpu_memory_mb=100)
    monkeypatch.setattr(
        BACKENDS["openvino"], "capability", lambda: Capability(None, hint="pip install 'x[y]'")
    )
    with pytest.raises(MissingDependencyError, match=r"openvino cannot be used: pip install"):
        open_backend("openvino", tmp_path)


def test_a_backend_of_the_user_is_one_like_all_others(
    bundle: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network in NumPy: the mean of each channel, larger by what its own option says."""

    class Mean(EngineBackend):
        name = "mean"
        reads = ("inference.pdiparams",)
        options: ClassVar = {"cpu": ("gain",)}
        preference: ClassVar = {"cpu": 99}

        def __init__(self, folder, *, device, precision, threads, gain=1.0):
            self.gain = gain

        def run_all(self, batch: np.ndarray) -> list[np.ndarray]:
            return [batch.mean(axis=(2, 3)) * self.gain]

        @classmethod
        def capability(cls) -> Capability:
            return Capability("1.0", {"cpu": ["fp32"]})

    monkeypatch.setitem(BACKENDS, "mean", Mean)  # taken away again after the test
    assert register_backend(Mean) is Mean
    picture = colours / "red" / "image 03.PNG"
    with Predictor(bundle, device="cpu") as one:
        assert one.description.startswith("mean 1.0, cpu, fp32, ")
        (plain,) = one.predict_logits(picture)
    with Predictor(bundle, backend="mean", gain=2.0) as one:
        (larger,) = one.predict_logits(picture)
    np.testing.assert_allclose(larger.logits, 2 * plain.logits)
    with pytest.raises(ConfigError, match="no option 'gian'; did you mean 'gain'"):
        Predictor(bundle, gian=2.0)
    with pytest.raises(ConfigError, match="paddle has no option 'gain' on this cpu"):
        Predictor(bundle, backend="paddle", device="cpu", gain=2.0)
    for wrong, message in (
        (type("Other", (Mean,), {}), "'mean' is taken"),
        (type("Auto", (Mean,), {"name": "auto"}), "'auto' is taken"),
        (Colours, "is not a class derived from EngineBackend"),
    ):
        with pytest.raises(ConfigError, match=message):
            register_backend(wrong)


@pytest.mark.process
def test_importing_inference_loads_neither_paddle_nor_training() -> None:
    script = (
        "import sys, ppcls.inference.predictor\n"
        "from ppcls.inference.backends import BACKENDS\n"
        "[BACKENDS[n].capability() for n in ('onnxruntime', 'openvino', 'paddle')]\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'paddle'])\n"
        "own = {m.split('.')[1] for m in sys.modules if m.startswith('ppcls.')}\n"
        "print(sorted(own & {'config', 'evaluation', 'exporting', 'models', 'training'}))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert found.stdout == "[]\n[]\n", found.stderr
