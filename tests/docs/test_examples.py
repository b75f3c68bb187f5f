"""The examples: each runs, on tiny data, and does what it says."""

from __future__ import annotations

import json
import shutil
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

import ppcls
from ppcls.cli import main as command_line

sys.path.insert(0, str(ROOT / "examples"))
import backbone
import confusion_matrix
import fine_tune
import service
import training_loop


@pytest.fixture(scope="module")
def tuned(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What fine_tune.py leaves of a folder without lists, from weights of 1000 classes."""
    from ppcls.models.weights import save_weights

    root = tmp_path_factory.mktemp("tuned")
    shutil.copytree(colours, root / "photos", ignore=shutil.ignore_patterns("*.txt"))
    save_weights(ppcls.create_model("SqueezeNet1_1"), root / "weights.pdparams")
    arguments = ["--arch", "SqueezeNet1_1", "--weights", str(root / "weights.pdparams")]
    arguments += ["--epochs", "1", "--output", str(root / "output")]
    fine_tune.main([str(root / "photos"), *arguments])
    return root


@pytest.mark.training
def test_fine_tuning_leaves_a_model_with_the_folders_classes(tuned: Path) -> None:
    assert (tuned / "output/SqueezeNet1_1/curves.png").is_file()
    with ppcls.Predictor(tuned / "output/inference") as predictor:
        answers = list(predictor.predict(tuned / "photos/red"))
    assert len(answers) == 12
    assert {name for answer in answers for name in answer.label_names} == {
        "bleu pâle",
        "green",
        "red",
    }


@pytest.mark.training
def test_a_training_loop_over_the_parts_learns(colours: Path, tmp_path: Path, capsys) -> None:
    arguments = ["--arch", "SqueezeNet1_1", "--epochs", "2", "--output", str(tmp_path)]
    training_loop.main([str(colours), *arguments])
    shown = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in shown[:2]] == ["epoch 1", "epoch 2"]
    model = ppcls.create_model("SqueezeNet1_1", class_num=3)
    assert ppcls.load_weights(model, tmp_path / "weights.pdparams") == []


@pytest.fixture
def address(tuned: Path) -> Iterator[str]:
    with (
        ppcls.Predictor(tuned / "output/inference") as predictor,
        service.Service(("127.0.0.1", 0), predictor) as server,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def ask(url: str, data: bytes | None = None) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=600) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.training
def test_the_service_answers_as_the_predictor_does(address: str, tuned: Path) -> None:
    picture = next((tuned / "photos/green").iterdir())
    status, answer = ask(f"{address}/predict", picture.read_bytes())
    assert status == 200
    with ppcls.Predictor(tuned / "output/inference") as predictor:
        [expected] = predictor.predict(picture)
    assert [c["name"] for c in answer["classes"]] == expected.label_names
    assert [c["score"] for c in answer["classes"]] == [round(s, 5) for s in expected.scores]
    assert ask(f"{address}/health")[1]["status"] == "ok"


@pytest.mark.training
def test_the_service_refuses_what_is_no_picture(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, answer = ask(f"{address}/predict", b"no picture")
    assert (status, list(answer)) == (400, ["error"])
    assert ask(f"{address}/predict", b"")[0] == 413
    monkeypatch.setattr(service, "LARGEST", 5)
    assert ask(f"{address}/predict", b"no picture")[0] == 413
    assert ask(f"{address}/elsewhere", b"picture")[0] == 404


@pytest.mark.training
def test_a_confusion_matrix_is_read(tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tuned / "output/SqueezeNet1_1"
    arguments = ["-c", f"{run}/config.yaml", "-o", f"Global.pretrained_model={run}/best_model"]
    assert command_line(["eval", *arguments, "--report", str(tuned / "report")]) == 0
    capsys.readouterr()
    confusion_matrix.main([str(tuned / "report")])
    assert "of 6 images are right" in capsys.readouterr().out


def test_what_a_confusion_matrix_says() -> None:
    said = confusion_matrix.read_aloud(
        ["cat", "dog", "fox"], confusion_matrix.np.array([[8, 2, 0], [1, 9, 0], [5, 0, 0]])
    )
    assert said == [
        "17 of 25 images are right (68.0%).",
        "The class missed most often is fox: 0.0% of its 5 images are found (recall).",
        "The least reliable prediction is cat: 57.1% of its 14 predictions are right (precision).",
        "No image is predicted as fox.",
        "5 of 5 images of fox are mistaken for cat, and 0 the other way round.",
        "2 of 10 images of cat are mistaken for dog, and 1 the other way round.",
        "1 of 10 images of dog are mistaken for cat, and 2 the other way round.",
    ]


@pytest.mark.training
def test_a_backbone_learns_to_mark_squares(capsys: pytest.CaptureFixture[str]) -> None:
    # A quarter of the pixels are of the square: who marks none is right in three quarters. Five
    # seeds reach 0.85 to 0.88, and rounding matters less than a seed.
    assert backbone.main(["--steps", "8"]) > 0.8
    assert "a map of 1024 channels, one cell for 32 x 32 pixels" in capsys.readouterr().out
