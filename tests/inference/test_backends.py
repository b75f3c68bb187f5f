"""One real export, run by every backend, script and class that can run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
import yaml
from conftest import CONFIG, ROOT, small_run

import ppcls
from ppcls.cli import main, predict_cls
from ppcls.compat.inference_cls import load_deploy_config, open_predictor
from ppcls.config import data_overrides, load_config
from ppcls.devices import gpu_count
from ppcls.errors import BundleError, ConfigError, DataError, RunError, WeightsError
from ppcls.evaluation.bundle import evaluate_predictor, held_out_images
from ppcls.inference.backends import usable
from ppcls.inference.backends.eager import EagerBackend
from ppcls.inference.fastest import recall, remember
from ppcls.inference.predictor import Classifier
from ppcls.models.weights import save_weights

pytest.importorskip("paddle2onnx")
pytest.importorskip("onnxruntime")
SCRIPT = ROOT / "deploy/python/predict_cls.py"
# The shape since PaddleClas 2.2.
PUBLISHED_DEPLOY = """\
Global:
  infer_imgs: "./images/ImageNet/ILSVRC2012_val_00000010.jpeg"
  inference_model_dir: "./models"
  batch_size: 1
  use_gpu: True
  enable_mkldnn: True
  cpu_num_threads: 10
  enable_benchmark: True
  use_fp16: False
  ir_optim: True
  use_tensorrt: False
  gpu_mem: 8000
  enable_profile: False
PreProcess:
  transform_ops:
    - ResizeImage: {resize_short: 256}
    - CropImage: {size: 224}
    - NormalizeImage: {scale: 0.00392157, mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225], order: "", channel_num: 3}
    - ToCHWImage:
PostProcess:
  main_indicator: Topk
  Topk: {topk: 5, class_id_map_file: "../ppcls/utils/imagenet1k_label_list.txt"}
  SavePreLabel: {save_dir: ./pre_label/}
"""
TRANSFORMS = [{"ResizeImage": {"size": 32}}, {"NormalizeImage": {}}]


@pytest.fixture(scope="module")
def bundle(colours: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In the older format, with the ONNX file beside it."""
    config, overrides = small_run(colours, tmp_path_factory.mktemp("bundle"))
    config = load_config(config, [*overrides, f"Global.pretrained_model={random_weights}"])
    return ppcls.export(config, file_format="pdmodel", onnx=True, features=True).folder


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.process
def test_every_backend_gives_the_logits_of_the_model(
    bundle: Path, colours: Path, random_weights: Path
) -> None:
    sources = sorted(colours.glob("*/*.PNG"))
    able = [name for name, can in usable(bundle).items() if "cpu" in can.precisions]
    assert {"paddle", "onnxruntime"} <= set(able)
    with ppcls.Predictor(bundle, backend="paddle", device="cpu") as one:
        facts = one.facts
    model = ppcls.create_model("SqueezeNet1_1", class_num=3, pretrained=random_weights)
    eager = Classifier(EagerBackend(model), facts.pipeline, facts.labels)
    expected = np.stack([r.logits for r in eager.predict_logits(sources)])
    features = []
    for name in able:
        with ppcls.Predictor(bundle, backend=name, device="cpu", batch_size=7) as one:
            found = np.stack([r.logits for r in one.predict_logits(sources)])
            features.append(np.stack([r.features for r in one.features(sources)]))
            assert one.description.startswith(f"{name} ")
        difference = np.abs(found - expected).max() / expected.std()
        assert difference < 1e-4, name
        difference = np.abs(features[-1] - features[0]).max() / features[0].std()
        assert difference < 1e-4, name
    assert features[0].shape[0] == len(sources)


@pytest.mark.process
def test_auto_takes_what_was_tuned(bundle: Path, home: Path, capsys) -> None:
    arguments = ["--batch-sizes", "1", "--seconds", "0.05", "--backends", "paddle"]
    assert main(["benchmark", str(bundle), *arguments, "--tune"]) == 0
    assert "paddle for fp32 on cpu, kept in" in capsys.readouterr().out
    assert ppcls.Predictor(bundle, device="cpu").backend == "paddle"
    remember(bundle, "cpu", "fp32", "onnxruntime")
    assert ppcls.Predictor(bundle, device="cpu").backend == "onnxruntime"
    remember(bundle, "cpu", "fp32", "one that is no more")
    assert ppcls.Predictor(bundle, device="cpu").backend in usable(bundle)
    for text in ("[", "[" * 100_000):
        for path in (home / "tuned").iterdir():
            path.write_text(text, encoding="utf-8")
        assert recall(bundle, "cpu", "fp32") is None
    remember(bundle, "cpu", "fp32", "paddle")
    assert recall(bundle, "cpu", "fp32") == "paddle"


@pytest.mark.process
def test_a_benchmark_is_a_table_files_and_pictures(bundle: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--seconds", "0.01", "--batch-sizes", "2", "1", "--output", str(out)]
    backends = ["--backends", "paddle", "onnxruntime", "--precision", "fp32", "fp16"]
    assert main(["benchmark", str(bundle), *arguments, *backends, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "| median, batch 1 (ms) | p95, batch 1 (ms) | median, batch 2 (ms) |" in printed
    assert "Not measured: SqueezeNet1_1 with paddle in fp16: the backend paddle computes" in printed
    assert "cores, system" in printed
    found = json.loads((out / "benchmark.json").read_text(encoding="utf-8"))
    assert [(r["backend"], r["batch_size"]) for r in found["rows"]] == [
        ("paddle", 1),
        ("paddle", 2),
        ("onnxruntime", 1),
        ("onnxruntime", 2),
    ]
    for row in found["rows"]:
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["runs"] >= 10
        assert row["params_m"] < 0.8  # of three classes, not of a thousand
    assert len((out / "benchmark.csv").read_text().splitlines()) == 5
    assert (out / "benchmark.md").read_text(encoding="utf-8") == printed
    assert {p.suffix for p in out.glob("latency_*")} == {".png"}


@pytest.mark.process
def test_a_bundle_is_evaluated_on_a_list_or_a_configuration(
    bundle: Path, colours: Path, tmp_path: Path, capsys
) -> None:
    with ppcls.Predictor(bundle, topk=3) as one:
        samples = held_out_images(colours, 3)
        found = evaluate_predictor(one, samples)
        answers = [r.class_ids[0] for r in one.predict([s.path for s in samples])]
    assert found.count == 9
    right = sum(a == s.label for a, s in zip(answers, samples, strict=True))
    assert found.hits == {1: right, 3: 9}
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(), encoding="utf-8")
    for where in (
        ["--data", str(colours)],
        ["--data", str(colours / "val_list.txt")],
        ["-c", str(config), "-o", *data_overrides(colours)],
    ):
        assert main(["eval", "--bundle", str(bundle), "--json", *where]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["images"] == 9
        assert told["top1"] == found.means["top1"]
    of_bundle = ["eval", "--bundle", str(bundle)]
    for name in ("val_list.txt", "green", "red", "bleu pâle"):
        (tmp_path / name).symlink_to(colours / name)
    (tmp_path / "label_list.txt").write_text("0 bleu pâle\n1 green\n2 orange\n", "utf-8")
    assert main([*of_bundle, "--data", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "label 2 is 'orange', and 'red' in the exported model" in told
    assert main([*of_bundle, "--data", str(tmp_path / "val_list.txt")]) == 0
    capsys.readouterr()
    for arguments, message in (
        (of_bundle, "--bundle needs images"),
        ([*of_bundle, "--data", str(colours), "-o", "a=1"], "-o is for an evaluation with -c"),
        (
            [*of_bundle, "--data", str(colours), "--check"],
            "--check is for an evaluation of weights",
        ),
        (["eval", "-c", str(config), "--check", "--json"], "so --json has no results"),
        (["eval", "-c", str(config), "--threads", "1"], "--threads is for --bundle DIR"),
        (["eval"], "needs -c CONFIG, or --bundle DIR"),
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.startswith("usage: ppcls eval ")
    assert main(["eval", "--bundle", "HarDNet68", "--data", str(colours)]) == 1
    assert "that can be evaluated: it has no inference.yml" in capsys.readouterr().err


@pytest.mark.process
def test_messages_name_options_that_the_command_has(
    bundle: Path, colours: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(colours)
    assert main(["predict", str(bundle), "red", "--labels", "gone.txt"]) == 1
    assert capsys.readouterr().err.endswith(f"no such label list: gone.txt (seen from {colours})\n")
    for command in (["train", "-c"], ["data", "check"], ["data", "show"]):
        assert main([*command, "HarDNet68"]) == 1
        assert "train_list.txt (seen from" in (err := capsys.readouterr().err)
        assert "; --data DIR sets all paths to a folder" in err
    script = load_deploy_config(ROOT / "deploy/configs/inference_cls.yaml")
    for folder, message in (
        (colours / "gone", "no such folder"),
        (colours, "PreProcess.transform"),
    ):
        update = {"inference_model_dir": str(folder)}
        options = script.Global.model_copy(update=update)
        with pytest.raises(ConfigError, match=message):
            open_predictor(script.model_copy(update={"Global": options}))


@pytest.mark.process
def test_misspelt_options_and_impossible_counts_are_named(bundle: Path) -> None:
    for options, message in (
        ({"bakend": "paddle"}, "no option 'bakend'; did you mean 'backend'?"),
        ({"top_k": 3}, "no option 'top_k'; did you mean 'topk'?"),
        ({"batch_size": 0}, "batch_size: expected greater than 0, not 0"),
        ({"threads": 0}, "threads: expected greater than 0, not 0"),
        ({"topk": 0}, "topk: expected greater than 0, not 0"),
        ({"workers": 1.5}, "workers: expected a valid integer, not 1.5"),
        ({"threshold": "a"}, "threshold: expected a valid number, not 'a'"),
        ({"threshold": 3}, "threshold: expected less than or equal to 1, not 3"),
        ({"threshold": -1}, "threshold: expected greater than or equal to 0, not -1"),
        ({"device": "cuda"}, "device: expected 'auto', 'cpu' or 'gpu', not 'cuda'"),
        ({"precision": "fp61"}, "precision: expected 'fp32', 'fp16' or 'bf16', not 'fp61'"),
        ({"backend": "onnxruntime", "onednn": True}, "no option 'onednn' on this cpu"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            ppcls.Predictor(bundle, **options)


@pytest.mark.process
@pytest.mark.skipif(gpu_count() > 0, reason="there is a GPU")
@pytest.mark.parametrize("backend", ["auto", "paddle"])
def test_a_gpu_that_is_missing_is_told_as_in_training(bundle: Path, backend: str) -> None:
    missing = r"the installed PaddlePaddle .* a paddlepaddle-gpu that fits the driver, or use devic"
    with pytest.raises(RunError, match=missing):
        ppcls.Predictor(bundle, device="gpu", backend=backend)


@pytest.mark.process
def test_a_broken_image_ends_an_evaluation(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "val_list.txt").write_text("a.png 0\n")
    with ppcls.Predictor(bundle) as one, pytest.raises(DataError, match=r"a\.png: not an image"):
        evaluate_predictor(one, held_out_images(tmp_path, 3))


@pytest.mark.process
def test_a_model_of_another_tool_is_asked_for_what_it_lacks(
    bundle: Path, colours: Path, tmp_path: Path, capsys
) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(bundle, foreign)
    (foreign / "inference.yml").unlink()
    labels = colours / "label_list.txt"
    with pytest.raises(BundleError, match=r"without inference\.yml.*transforms='imagenet'"):
        ppcls.Predictor(foreign)
    with pytest.raises(BundleError, match=r"without inference\.yml"):
        ppcls.Predictor(foreign, labels=labels)
    with pytest.raises(ConfigError, match="are a list or 'imagenet', not 'imagnet'"):
        ppcls.Predictor(foreign, labels=labels, transforms="imagnet")
    with pytest.raises(ConfigError, match=r"transforms\.0"):
        ppcls.Predictor(foreign, labels=labels, transforms=[{"Resize": {}}])
    picture = colours / "red" / "image 03.PNG"
    usual = ppcls.Predictor(foreign, labels=labels, transforms=TRANSFORMS)
    with pytest.raises(RunError, match=r"not probabilities.*softmax=False"):
        list(usual.predict(picture))
    one = ppcls.Predictor(foreign, labels=labels, transforms=TRANSFORMS, softmax=False)
    (result,) = one.predict(picture)
    (expected,) = ppcls.Predictor(bundle, topk=3).predict(picture)
    assert result.label_names == expected.label_names
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-6)
    with pytest.raises(DataError, match="2 class names, but the network's output has 3 classes"):
        list(
            ppcls.Predictor(
                foreign, labels=["a", "b"], transforms=TRANSFORMS, softmax=False
            ).predict(picture)
        )
    with pytest.raises(ConfigError, match="has the evaluation settings"):
        ppcls.Predictor(bundle, transforms="imagenet")
    with pytest.raises(DataError, match="2 class names for a model with 3 classes"):
        ppcls.Predictor(bundle, labels=["a", "b"])

    transforms = tmp_path / "transforms.yaml"
    transforms.write_text(yaml.safe_dump({"PreProcess": {"transform_ops": TRANSFORMS}}))
    options = ["--transforms", str(transforms), "--labels", str(labels), "--logits", "--topk", "3"]
    assert main(["predict", str(foreign), str(picture), *options]) == 0
    assert json.loads(capsys.readouterr().out)["label_names"] == expected.label_names


@pytest.mark.process
def test_an_architecture_is_exported_once(
    colours: Path, random_weights: Path, home: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"'SqueezeNet1_2': no such folder.*did you mean 'Squeeze"
    ):
        ppcls.Predictor("SqueezeNet1_2", pretrained=True)
    with pytest.raises(ConfigError, match="no weights are named"):
        ppcls.Predictor("SqueezeNet1_1")
    # `ppcls predict` has no -o, so the message names the command that has.
    with pytest.raises(
        WeightsError, match=r"these weights have 3 classes.*`ppcls export SqueezeNet1_1 DIR --weig"
    ):
        ppcls.Predictor("SqueezeNet1_1", pretrained=random_weights, device="cpu")
    paddle.seed(0)
    save_weights(ppcls.create_model("SqueezeNet1_1"), tmp_path / "w.pdparams")
    one = ppcls.Predictor("SqueezeNet1_1", pretrained=tmp_path / "w.pdparams", device="cpu")
    (folder,) = (p for p in (home / "exported").iterdir() if p.is_dir())
    written = (folder / "inference.yml").stat().st_mtime_ns
    again = ppcls.Predictor("SqueezeNet1_1", pretrained=tmp_path / "w.pdparams", device="cpu")
    assert (folder / "inference.yml").stat().st_mtime_ns == written
    picture = colours / "red" / "image 03.PNG"
    assert list(one.predict(picture)) == list(again.predict(picture))
    assert len(one.labels) == 1000


def script_arguments(bundle: Path, picture: Path, folder: Path) -> list[str]:
    """Return the arguments of the published script in a folder."""
    options = (
        f"Global.infer_imgs={picture}",
        f"Global.inference_model_dir={bundle}",
        "Global.enable_benchmark=true",
        "Global.cpu_num_threads=1",
    )
    config = os.path.relpath(ROOT / "deploy/configs/inference_cls.yaml", folder)
    return ["-c", config, *(text for option in options for text in ("-o", option))]


def published_answer(bundle: Path, picture: Path) -> str:
    (expected,) = ppcls.Predictor(bundle, backend="paddle", topk=5).predict(picture)
    scores = ", ".join(f"{score:.2f}" for score in expected.scores)
    return (
        f"{picture.name}:\tclass id(s): {expected.class_ids}, score(s): [{scores}], "
        f"label_name(s): {expected.label_names}\n"
    )


@pytest.mark.process
def test_the_published_script_runs_in_its_own_folder(bundle: Path, colours: Path) -> None:
    folder, picture = ROOT / "deploy", colours / "red" / "image 03.PNG"
    command = [sys.executable, os.path.relpath(SCRIPT, folder)]
    found = subprocess.run(
        [*command, *script_arguments(bundle, picture, folder)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == published_answer(bundle, picture)
    assert "backend  paddle" in found.stderr
    assert "1 thread" in found.stderr
    assert "1 images in" in found.stderr


@pytest.mark.process
def test_the_published_script_takes_paths_from_the_checkout(
    bundle: Path, colours: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = colours / "red" / "image 03.PNG"
    monkeypatch.chdir(ROOT)
    assert predict_cls.main(script_arguments(bundle, picture, ROOT)) == 0
    assert capsys.readouterr().out == published_answer(bundle, picture)


def test_deployment_options_are_checked_like_all_others(tmp_path: Path) -> None:
    shipped = ROOT / "deploy/configs/inference_cls.yaml"
    for override, message in (
        ("Global.use_mkldnn=true", "unknown key; did you mean 'enable_mkldnn'"),
        ("Global.batch_size=0", "Global.batch_size: expected greater than 0"),
        ("Global.use_fp16=true", "use_fp16 is for a GPU, but use_gpu is false"),
        ("Global.use_tensorrt=true", "use_tensorrt is for a GPU"),
        ("Global.ir_optim=false", "Global.ir_optim: expected True"),
        ("PostProcess.Topk.topk=0", "PostProcess.Topk.topk: expected greater than 0"),
        ("PostProcess.Topk.top_k=3", "unknown key; did you mean 'topk'"),
        ("PostProcess.main_indicator=ThreshOutput", "main_indicator: expected 'Topk'"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_deploy_config(shipped, [override])
    published = tmp_path / "inference_cls.yaml"
    published.write_text(PUBLISHED_DEPLOY)
    options = load_deploy_config(published).Global.predictor_options()
    assert options == {
        "backend": "paddle",
        "device": "gpu",
        "precision": "fp32",
        "threads": None,
        "batch_size": 1,
        "gpu_memory_mb": 8000,
    }
    on_cpu = ["Global.use_gpu=False", "Global.enable_mkldnn=False"]
    options = load_deploy_config(published, on_cpu).Global.predictor_options()
    assert options["threads"] == 10
    assert options["onednn"] is False


@pytest.mark.process
def test_the_published_class_answers_with_the_published_dictionaries(
    bundle: Path, colours: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    clas = ppcls.PaddleClas(inference_model_dir=bundle, batch_size=8, topk=2, enable_mkldnn=False)
    batches = list(clas.predict(str(colours), print_pred=True))
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 4]
    assert list(batches[0][0]) == ["class_ids", "scores", "label_names", "filename"]
    assert len(batches[0][0]["scores"]) == 2
    assert len(capsys.readouterr().out.splitlines()) == 36
    (answer,) = next(clas.predict(tmp_path / "x.png"))
    assert answer["class_ids"] == []
    assert "not an image" in answer["error"]
    for wrong, message in (
        ({}, "either model_name or inference_model_dir"),
        ({"inference_model_dir": bundle, "use_mkldnn": True}, "did you mean 'enable_mkldnn'"),
        (
            {"inference_model_dir": bundle, "batch_size": 0},
            "PaddleClas: batch_size: expected",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            ppcls.PaddleClas(**wrong)


@pytest.mark.process
def test_real_weights_agree_on_real_images(shared: Path, tmp_path: Path) -> None:
    """ImageNet's classes of a hundred photographs, from the weights and from every backend."""
    images = shared / "data/imagenet_sample"
    overrides = [
        f"Global.pretrained_model={shared / 'data/weights/SqueezeNet1_1.npz'}",
        f"Global.save_inference_dir={tmp_path / 'inference'}",
        "DataLoader.Eval.loader.num_workers=0",
        f"DataLoader.Eval.dataset.image_root={images}",
        f"DataLoader.Eval.dataset.cls_label_path={images / 'val_list.txt'}",
    ]
    config = load_config("SqueezeNet1_1", overrides)
    evaluated = ppcls.evaluate(config)
    folder = ppcls.export(config, file_format="pdmodel", onnx=True).folder
    samples = held_out_images(images, 1000)
    sources = [sample.path for sample in samples]
    model = ppcls.create_model(
        "SqueezeNet1_1", pretrained=shared / "data/weights/SqueezeNet1_1.npz"
    )
    with ppcls.Predictor(folder, backend="paddle", device="cpu") as one:
        facts = one.facts
    eager = Classifier(EagerBackend(model), facts.pipeline, facts.labels)
    expected = np.stack([r.logits for r in eager.predict_logits(sources)])
    best = np.argsort(-expected, axis=1)[:, :5]
    for name, can in usable(folder).items():
        if "cpu" not in can.precisions:
            continue
        with ppcls.Predictor(folder, backend=name, device="cpu", topk=5) as one:
            found = evaluate_predictor(one, samples)
            logits = np.stack([r.logits for r in one.predict_logits(sources)])
        assert found.means["top1"] == pytest.approx(evaluated.means["top1"], abs=1e-12)
        assert found.means["top5"] == pytest.approx(evaluated.means["top5"], abs=1e-12)
        order = np.argsort(-logits, axis=1)[:, :5]
        assert (order[:, 0] == best[:, 0]).all(), name
        assert (np.sort(order, axis=1) == np.sort(best, axis=1)).all(), name
        assert np.abs(logits - expected).max() / expected.std() < 1e-4, name
