"""What is exported answers as the model does, and says so when it cannot be trusted."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import ppcls
from ppcls.config import load_config
from ppcls.data import image
from ppcls.errors import DataError
from ppcls.inference.inputs import find_inputs
from ppcls.inference.predictor import Predictor
from ppcls.pictures.tiles import Tile, tile_grid


def test_bad_images_are_answered_in_their_place(
    bundle: Path, tmp_path: Path, colours: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    good = colours / "red" / "image 03.PNG"
    sources = [good, tmp_path / "broken.png", good.read_bytes(), image.read(good), "gone.png", good]
    results = list(Predictor(bundle, batch_size=2).predict(sources))
    assert [r.error is None for r in results] == [True, False, True, True, False, True]
    assert "broken.png: not an image" in results[1].error
    assert "gone.png: cannot read the image: No such file" in results[4].error
    assert results[1].class_ids == []
    assert results[0].class_ids == results[2].class_ids == results[3].class_ids
    np.testing.assert_allclose(results[0].scores, results[3].scores, atol=1e-6)
    assert json.loads(json.dumps(results[0].to_dict())).keys() == {
        "filename",
        "class_ids",
        "scores",
        "label_names",
        "error",
    }


def test_what_is_no_image_is_an_answer_with_an_error(bundle: Path) -> None:
    sources = [3, None, np.zeros((4, 4), np.uint8)]
    errors = [result.error for result in Predictor(bundle).predict(sources)]
    assert errors[0] == "expected a path, bytes or an array, not int"
    assert errors[1] == "expected a path, bytes or an array, not NoneType"
    assert "must be uint8 (H, W, 3)" in errors[2]


def test_names_with_dollars_and_chinese_are_drawn(tmp_path: Path) -> None:
    tiles = [Tile(np.zeros((4, 4, 3), np.uint8), text) for text in ("a^$b^$c", "$_$", "猫 0.9")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tile_grid(tiles, tmp_path / "grid.png")
    assert (tmp_path / "grid.png").stat().st_size > 1000


def test_scores_are_probabilities_best_first(bundle: Path, colours: Path) -> None:
    good = colours / "red" / "image 03.PNG"
    (result,) = Predictor(bundle, topk=99).predict([good])
    assert sorted(result.class_ids) == [0, 1, 2]
    assert sum(result.scores) == pytest.approx(1)
    assert result.scores == sorted(result.scores, reverse=True)


@pytest.mark.large
def test_two_models_live_in_one_process(
    config_file: Path, ready: list[str], tmp_path: Path
) -> None:
    first = ppcls.export(load_config(config_file, ready)).folder
    config = load_config(
        config_file,
        [
            *ready,
            "Arch.name=HarDNet39_ds",
            "Global.pretrained_model=null",
            f"Global.save_inference_dir={tmp_path / 'second'}",
        ],
    )
    second = ppcls.export(config, allow_random=True).folder
    predictors = [Predictor(first), Predictor(second), Predictor(first)]
    picture = np.zeros((32, 32, 3), np.uint8)
    a, b, c = (next(p.predict([picture])).scores for p in predictors)
    assert a == c != b


def test_inputs_are_files_folders_patterns_and_lists(colours: Path, tmp_path: Path) -> None:
    everything = find_inputs([colours])
    assert len(everything) == 36
    assert [i.path for i in find_inputs([colours / "*" / "image 01.PNG"])] == [
        colours / name / "image 01.PNG" for name in ("bleu pâle", "green", "red")
    ]
    listed = find_inputs([colours / "val_list.txt"])
    assert [i.label for i in listed] == [0] * 3 + [1] * 3 + [2] * 3
    assert all(i.path.is_file() for i in listed)
    (colours / "plain.txt").write_text("red/image 01.PNG\n")
    assert find_inputs([colours / "plain.txt"])[0] == (colours / "red" / "image 01.PNG", None)
    (colours / "plain.txt").unlink()
    (tmp_path / "empty").mkdir()
    for wrong, message in (
        (tmp_path / "empty", "no images in this folder"),
        (tmp_path / "gone", "no such file or folder"),
    ):
        with pytest.raises(DataError, match=message):
            find_inputs([wrong])
