"""What is exported answers as the model does, in every format, and says so when it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
import paddle
import pytest
import yaml
from conftest import ROOT, smallest_of_each_family
from filelock import FileLock

import ppcls
from ppcls.bundle import read_bundle
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.config.from_checkpoint import trained_config
from ppcls.errors import BundleError, ConfigError, MissingDependencyError, RunError, WeightsError
from ppcls.exporting.input_size import resized
from ppcls.exporting.onnx import write_onnx
from ppcls.exporting.parity import log_probabilities, require_same
from ppcls.inference.backends.onnxruntime import OnnxRuntimeBackend
from ppcls.inference.backends.paddle import PaddleBackend
from ppcls.inference.predictor import Predictor
from ppcls.inference.results import softmax
from ppcls.models import registry
from ppcls.models.senet.network import SENet
from ppcls.models.squeezenet.network import SqueezeNet
from ppcls.models.weights import save_weights

needs_onnx = pytest.mark.skipif(
    find_spec("paddle2onnx") is None, reason="the extra onnx is not installed"
)

FAMILIES = smallest_of_each_family()
# The others take half a minute together.
QUICK = {"HarDNet39_ds", "SENet154_vd", "SqueezeNet1_1"}
# AlexNet's pooling converts to ONNX where its last map is 6 x 6 already.
SIDES = {"AlexNet": 224}
PROBE = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture
def random_arch(config_file: Path, overrides: list[str]):
    """Export an untrained architecture with three classes."""

    def run(name: str, side: int = 32, **options):
        config = load_config(config_file, [*overrides, f"Arch.name={name}"])
        return ppcls.export(config, allow_random=True, input_size=side, **options)

    return run


@needs_onnx
@pytest.mark.process
@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES]
)
def test_each_family_exports_for_paddle_and_onnx(
    random_arch, name: str, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One block a stage: all 50 take half a minute (tests/support/export_table.py has them).
    monkeypatch.setitem(
        registry._BUILDERS,
        "SENet154_vd",
        lambda **options: SENet(
            depths=(1, 1, 1, 1), widths=(256, 512, 1024, 2048), groups=64, **options
        ),
    )
    side = SIDES.get(name, 32)
    result = random_arch(name, side, onnx=True)
    parity = result.spec.parity
    assert parity.verified
    assert (parity.images, parity.source) == (9, str(colours / "val_list.txt"))
    assert parity.random_images == 8
    assert [check.file for check in parity.checks] == ["inference.json", "inference.onnx"]
    assert parity.max_difference < 1e-4
    images = np.random.default_rng(0).normal(size=(3, 3, side, side)).astype(np.float32)
    by_paddle = PaddleBackend(result.folder).run(images)
    by_onnx = OnnxRuntimeBackend(result.folder).run(images)
    np.testing.assert_allclose(by_onnx / by_paddle.std(), by_paddle / by_paddle.std(), atol=1e-4)


def test_the_bundle_says_all_that_a_predictor_needs(random_arch) -> None:
    result = random_arch("HarDNet39_ds")
    assert sorted(p.name for p in result.folder.iterdir()) == [
        "inference.json",
        "inference.pdiparams",
        "inference.yml",
    ]
    written = yaml.safe_load((result.folder / "inference.yml").read_text(encoding="utf-8"))
    assert written["schema_version"] == 2
    assert written["card"]["paper"] == "HarDNet: A Low Memory Traffic Network"
    assert written["Input"] == {
        "name": "x",
        "shape": [-1, 3, 32, 32],
        "dtype": "float32",
        "layout": "NCHW",
        "color": "RGB",
        "range": [pytest.approx(-2.1179, abs=1e-4), pytest.approx(2.64, abs=1e-4)],
        "decode": {"DecodeImage": {}},
    }
    assert written["Output"] == {
        "classes": 3,
        "task": "single_label",
        "softmax": False,
        "sigmoid": False,
        "features": False,
    }
    # What PaddleX knows: nothing about decoding, no name for bilinear, order said and empty.
    resize, normalize, to_chw = written["PreProcess"]["transform_ops"]
    assert resize == {"ResizeImage": {"size": 32}}
    assert normalize["NormalizeImage"] == {
        "scale": pytest.approx(1 / 255),
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "order": "",
    }
    assert to_chw == {"ToCHWImage": None}
    assert written["PostProcess"]["Topk"] == {
        "topk": 2,
        "label_list": ["bleu pâle", "green", "red"],
    }
    assert len(written["config_sha256"]) == 64
    assert written["versions"]["paddle"] == paddle.__version__
    assert set(written["files"]) == {"inference.json", "inference.pdiparams"}


def answers(folder: Path, backend: str = "paddle") -> list[tuple[list[int], list[float]]]:
    with Predictor(folder, backend=backend, topk=3) as predictor:
        return [(r.class_ids, r.scores) for r in predictor.predict(list(PROBE))]


def assert_same(found, expected) -> None:
    for (ids, scores), (expected_ids, expected_scores) in zip(found, expected, strict=True):
        assert ids == expected_ids
        np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


@needs_onnx
@pytest.mark.process
def test_every_option_gives_the_same_answers(config_file: Path, ready: list[str]) -> None:
    config = load_config(config_file, ready)
    plain = answers(ppcls.export(config).folder)
    result = ppcls.export(
        config, file_format="pdmodel", onnx=True, softmax=True, uint8_input=True, features=True
    )
    assert set(result.spec.files) == {"inference.pdmodel", "inference.pdiparams", "inference.onnx"}
    assert not (result.folder / "inference.json").exists()  # of the earlier export
    given = result.spec.Input
    assert (given.dtype, given.layout, given.shape) == ("uint8", "NHWC", [-1, 32, 32, 3])
    assert given.range == [0, 255]
    assert [type(op).__name__ for op in result.spec.PreProcess.transform_ops] == ["ResizeImage"]
    for backend in ("paddle", "onnxruntime"):
        assert_same(answers(result.folder, backend), plain)
    probabilities, features = PaddleBackend(result.folder).run_all(PROBE)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert features.shape == (5, ppcls.create_model("SqueezeNet1_1").feature_info[-1].channels)


def config_weights(overrides: list[str]) -> str:
    return overrides[-1].partition("=")[2]


@pytest.mark.process
def test_squeeze_and_excitation_can_be_traced_into_the_older_format(tmp_path: Path) -> None:
    """Which F.sigmoid cannot. Paddle makes that format where a flag is set before its import."""
    code = """
import sys, paddle
from ppcls.models.senet.network import SqueezeExcitation
spec = paddle.static.InputSpec([None, 32, 4, 4], "float32")
graph = paddle.jit.to_static(SqueezeExcitation(32), input_spec=[spec], full_graph=True)
paddle.jit.save(graph, sys.argv[1])
"""
    root = str(ROOT)
    env = {**os.environ, "PYTHONPATH": root, "FLAGS_enable_pir_api": "0"}
    target = str(tmp_path / "inference")
    subprocess.run([sys.executable, "-c", code, target], env=env, check=True, capture_output=True)
    assert (tmp_path / "inference.pdmodel").is_file()


@needs_onnx
@pytest.mark.process
@pytest.mark.slow
def test_the_hardest_architecture_exports_to_the_older_format(random_arch) -> None:
    """Its sigmoid and its upsampling are what that format refuses in their usual spelling."""
    result = random_arch("SE_HRNet_W18_C", file_format="pdmodel", onnx=True)
    assert result.spec.parity.max_difference < 1e-4


@needs_onnx
@pytest.mark.process
def test_the_onnx_file_is_clean(random_arch, capfd: pytest.CaptureFixture[str]) -> None:
    import onnx

    folder = random_arch("SqueezeNet1_1", onnx=True).folder
    graph = onnx.load(folder / "inference.onnx")
    assert [opset.version for opset in graph.opset_import] == [17]
    for value in (*graph.graph.input, *graph.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N"
    onnxruntime.InferenceSession(folder / "inference.onnx")  # warns of weights that nothing reads
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "onnx" not in printed.err.lower()


@needs_onnx
@pytest.mark.process
def test_what_cannot_be_converted_is_an_error_of_ours(random_arch, tmp_path: Path) -> None:
    folder = random_arch("SqueezeNet1_1").folder
    (folder / "inference.json").write_text("{}")
    with pytest.raises(RunError, match="paddle2onnx cannot convert the graph to ONNX"):
        write_onnx(folder, tmp_path / "inference.onnx")


def test_onnx_without_its_packages_names_the_extra(random_arch, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "paddle2onnx", None)
    with pytest.raises(MissingDependencyError, match=r"paddle2onnx: pip install 'ppcls\[onnx\]'"):
        random_arch("SqueezeNet1_1", onnx=True)


def test_another_input_size_scales_the_transforms(random_arch, config_file: Path) -> None:
    ops = load_config("HarDNet68").pipeline("Infer").ops
    scaled = resized(ops, (224, 224), (448, 336))
    assert scaled[1].resize_short == 512
    assert scaled[2].size == [336, 448]
    assert resized(ops, (224, 224), (320, 320))[2].size == 320
    result = random_arch("SqueezeNet1_1", (48, 64))
    assert result.spec.Input.shape == [-1, 3, 48, 64]
    assert result.spec.PreProcess.transform_ops[0].size == [64, 48]
    with pytest.raises(ConfigError, match="of at least 32 pixels, not 4"):
        random_arch("SqueezeNet1_1", 4)


def test_no_check_marks_the_bundle(random_arch, tmp_path: Path) -> None:
    result = random_arch("SqueezeNet1_1", check=False)
    assert not result.spec.parity.verified
    assert result.spec.parity.checks == []
    assert len(answers(result.folder)) == 5


def test_without_evaluation_images_random_ones_are_used_and_recorded(
    config_file: Path, ready: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parity = ppcls.export(load_config(config_file, [*ready, "DataLoader={}"])).spec.parity
    assert (parity.images, parity.source, parity.random_images) == (0, "random", 8)
    assert parity.checks[0].max_difference is None
    capsys.readouterr()
    gone = [*ready, "DataLoader.Eval.dataset.cls_label_path=gone.txt"]
    parity = ppcls.export(load_config(config_file, gone)).spec.parity
    assert parity.source == "random"
    assert "no images of gone.txt here" in capsys.readouterr().err


def test_export_again_replaces_and_a_failure_replaces_nothing(
    config_file: Path, ready: list[str], bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in bundle.iterdir()}
    with pytest.raises(ConfigError, match=r"image_shape is \[3, 64, 64\], but the eval"):
        ppcls.export(load_config(config_file, [*ready, "Global.image_shape=[3, 64, 64]"]))
    monkeypatch.setattr("ppcls.exporting.parity.TOLERANCE", 0.0)
    with pytest.raises(RunError, match="so nothing is exported: largest difference"):
        ppcls.export(load_config(config_file, ready))
    assert {p.name: p.read_bytes() for p in bundle.iterdir()} == before
    elsewhere = bundle.with_name("elsewhere")
    with pytest.raises(RunError, match="nothing is exported"):
        ppcls.export(load_config(config_file, [*ready, f"Global.save_inference_dir={elsewhere}"]))
    assert not elsewhere.exists()
    monkeypatch.undo()
    ppcls.export(load_config(config_file, [*ready, "Infer.PostProcess.topk=1"]))
    assert read_bundle(bundle).PostProcess.Topk.topk == 1


def test_an_export_does_not_replace_other_files(
    config_file: Path, ready: list[str], tmp_path
) -> None:
    (tmp_path / "inference").mkdir()
    (tmp_path / "inference/inference.json").write_text("mine")
    with pytest.raises(RunError, match=r"inference\.json: already exists, and is not an export"):
        ppcls.export(load_config(config_file, ready))
    assert [p.name for p in (tmp_path / "inference").iterdir()] == ["inference.json"]


def test_an_export_does_not_lie_among_the_images(
    config_file: Path, ready: list[str], colours: Path
) -> None:
    for folder in (colours, colours / "red"):
        before = sorted(folder.iterdir())
        with pytest.raises(ConfigError, match="holds images of the data set; choose another"):
            ppcls.export(load_config(config_file, [*ready, f"Global.save_inference_dir={folder}"]))
        assert sorted(folder.iterdir()) == before


@pytest.fixture
def other_when_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that computes something else when it is traced."""
    forward_head = SqueezeNet.forward_head

    def other(self: SqueezeNet, x: paddle.Tensor) -> paddle.Tensor:
        logits = forward_head(self, x)
        return logits if paddle.in_dynamic_mode() else logits * 1.001

    monkeypatch.setattr(SqueezeNet, "forward_head", other)


@pytest.mark.usefixtures("other_when_traced")
@pytest.mark.parametrize("options", [{}, {"softmax": True}])
def test_an_export_is_compared_with_the_model_before_it_was_traced(
    config_file: Path, ready: list[str], options: dict
) -> None:
    with pytest.raises(RunError, match=r"gives different logits from the model.*graph is wrong"):
        ppcls.export(load_config(config_file, ready), **options)


@pytest.mark.usefixtures("other_when_traced")
def test_a_wrong_graph_of_a_model_with_huge_logits_is_seen(
    config_file: Path, ready: list[str], tmp_path: Path
) -> None:
    """Their squares are beyond float32: a spread measured in it would forgive every difference."""
    model = ppcls.create_model("SqueezeNet1_1", class_num=3)
    model._conv9.bias.set_value(paddle.to_tensor([1e30, 2e30, 3e30]))
    save_weights(model, tmp_path / "huge.npz")
    overrides = [*ready, f"Global.pretrained_model={tmp_path / 'huge.npz'}"]
    with pytest.raises(RunError, match="gives different logits from the model"):
        ppcls.export(load_config(config_file, overrides))


def test_the_parity_check_sees_another_model_and_names_the_worst_image() -> None:
    def check(found: list) -> float:
        expected = np.array([[1, 2], [3, 4]], "float32")
        return require_same(expected, np.array(found, "float32"), ["a", "b"], "graph")

    assert check([[1, 2], [3, 4]]) == 0
    with pytest.raises(RunError, match="on b; another best class for 1 of 2 images"):
        check([[1, 2], [4, 3]])
    with pytest.raises(RunError, match="on a; another best class for 0 of 2"):
        check([[1, 2.001], [3, 4]])
    with pytest.raises(RunError, match="nothing is exported"):
        check([[1, np.nan], [3, 4]])
    huge = np.array([[1e30, 2e30], [3e30, 4e30]], "float32")
    with pytest.raises(RunError, match=r"largest difference 8\.94e-03.* on b"):
        require_same(huge, huge * np.float32(1.0025), ["a", "b"], "graph")
    constant = np.zeros((2, 2), "float32")
    assert require_same(constant, constant, ["a", "b"], "graph") == 0


def test_probabilities_are_compared_by_the_logits_behind_them() -> None:
    logits = np.array([[3.0, -4.0, 0.5], [100.0, 90.0, -200.0]])
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    logits, probabilities = logits.astype("float32"), probabilities.astype("float32")
    np.testing.assert_allclose(
        log_probabilities(probabilities),
        log_probabilities(softmax(logits)),
        atol=1e-6,
    )


def test_what_a_killed_export_left_goes_and_a_running_one_stays(
    config_file: Path, ready: list[str], bundle: Path
) -> None:
    left, running = bundle / ".export-left", bundle / ".export-running"
    for folder in (left, running):
        folder.mkdir()
        (folder / "inference.json").write_text("half")
    with FileLock(running / "lock"):
        ppcls.export(load_config(config_file, ready))
        assert not left.exists()
        assert (running / "inference.json").exists()
    ppcls.export(load_config(config_file, ready))
    assert not running.exists()


@pytest.mark.process
def test_a_terminated_export_leaves_nothing(config_file: Path, overrides, tmp_path: Path) -> None:
    target = tmp_path / "inference"
    command = [sys.executable, "-m", "ppcls", "export", "-c", str(config_file), "--allow-random"]
    # HRNet's graph takes seconds to load: there is time to end it in the middle.
    command += ["-o", *overrides, "Arch.name=HRNet_W18_C"]
    root = str(ROOT)
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root})
    end = time.monotonic() + 600
    while not list(target.glob(".export-*")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 143
    assert not target.exists()


def _change(name: str, change):
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


def _edit(edit):
    def apply(folder: Path) -> None:
        spec = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
        edit(spec)
        (folder / "inference.yml").write_text(yaml.safe_dump(spec), encoding="utf-8")

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "inference.yml").unlink(), r"without inference\.yml, so from another tool"),
        (lambda f: (f / "inference.json").unlink(), r"inference\.json: missing"),
        (_change("inference.pdiparams", lambda b: b[:-1] + b"x"), r"pdiparams: changed since"),
        (_change("inference.yml", lambda b: b"\xff" + b), r"inference\.yml:1: not UTF-8"),
        (_change("inference.yml", lambda b: b"[1"), r"inference\.yml:1: not valid YAML"),
        (_change("inference.yml", lambda b: b"[" * 5000), r"inference\.yml:1: .*nest"),
        (_change("inference.yml", lambda b: b""), "no schema_version: not written by"),
        (_edit(lambda s: s.update(schema_version=1)), "reads 2: export the model again"),
        (_edit(lambda s: s.update(schema_version=3)), "reads 2: it needs a newer ppcls"),
        (
            _edit(lambda s: s["PostProcess"]["Topk"]["label_list"].pop()),
            "label_list has 2 names, but the graph outputs 3 classes",
        ),
        (_edit(lambda s: s.pop("PreProcess")), "PreProcess: Field required; export the model"),
        (
            _edit(lambda s: s["PreProcess"].update(transform_ops=[])),
            r"transform_ops give images of any height and width, but Input\.shape has .*\[32, 32\]",
        ),
        (
            _edit(lambda s: s["Input"].update(shape=[-1, 3, 9, 9])),
            r"transform_ops give \[32, 32\], but Input\.shape has height and width \[9, 9\]",
        ),
        (_edit(lambda s: s["Input"].update(layout="NHWC")), "neither float32 NCHW nor uint8 NHWC"),
        (_edit(lambda s: s["files"].update({"../w": "0"})), "files"),
    ],
)
def test_a_damaged_export_is_named(bundle: Path, damage, message: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=message):
        Predictor(bundle)


@pytest.fixture
def run_folder(config_file: Path, ready: list[str], tmp_path: Path) -> Path:
    """What a training run leaves: weights, and the configuration beside them."""
    folder = tmp_path / "run"
    folder.mkdir()
    config = load_config(config_file, [*ready, "Global.checkpoints=elsewhere"])
    from ppcls.config import dump_config

    (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    (tmp_path / "w.pdparams").replace(folder / "best_model.pdparams")
    return folder


def test_a_source_is_a_checkpoint_a_configuration_or_a_name(
    run_folder: Path, config_file: Path, ready: list[str], tmp_path: Path
) -> None:
    for checkpoint in ("best_model", "best_model.pdparams"):
        config = trained_config(run_folder / checkpoint)
        assert config.Global.pretrained_model == str(run_folder / "best_model.pdparams")
        assert config.Global.checkpoints is None  # it would win over these weights
        assert config.Arch.class_num == 3
    assert trained_config("SqueezeNet1_1").Arch.pretrained is True
    assert trained_config("SqueezeNet1_1", allow_random=True).Arch.pretrained is False
    named = trained_config("SqueezeNet1_1", weights="w.npz")
    assert named.Global.pretrained_model == "w.npz"
    written = trained_config(config_file, ready, weights="other")
    assert written.Global.pretrained_model == config_weights(ready)  # -o goes on top


@pytest.mark.parametrize(
    ("source", "weights", "message"),
    [
        ("run", None, r"is a folder, not a checkpoint; checkpoints in it: .*best_model"),
        ("run/best_model", "w.npz", "best_model.pdparams is itself a weights file"),
        ("elsewhere/alone", None, r"alone.pdparams: no config.yaml beside it.*--weights"),
        ("run/bst_model", None, "neither a checkpoint nor an architecture, and no such config"),
    ],
)
def test_a_source_that_is_none_is_named(
    run_folder: Path, source: str, weights: str | None, message: str
) -> None:
    (run_folder.parent / "elsewhere").mkdir()
    save_weights(paddle.nn.Linear(1, 1), run_folder.parent / "elsewhere" / "alone.pdparams")
    with pytest.raises(ConfigError, match=message):
        trained_config(run_folder.parent / source, weights=weights)
    with pytest.raises(ConfigError, match="did you mean 'HarDNet68'"):
        trained_config("HarDNet_68")


def test_a_run_is_exported_beside_itself_where_no_folder_is_named(
    run_folder: Path, tmp_path: Path
) -> None:
    checkpoint = run_folder / "best_model"
    assert trained_config(checkpoint).Global.save_inference_dir == str(run_folder / "inference")
    named = trained_config(checkpoint, ["Global.save_inference_dir=elsewhere"])
    assert named.Global.save_inference_dir == "elsewhere"
    assert main(["export", str(checkpoint), "--no-check"]) == 0
    assert (run_folder / "inference/inference.yml").is_file()


def test_class_names_of_other_data_than_the_run_are_refused(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The names would be wrong in every answer."""
    own, other = run_folder / "label_list.txt", tmp_path / "label_list.txt"
    own.write_text("0 bleu pâle\n1 green\n2 red\n", encoding="utf-8")
    other.write_text("0 bleu pâle\n1 grey\n2 red\n", encoding="utf-8")
    weights = [
        "-o",
        f"Global.pretrained_model={run_folder / 'best_model'}",
        "Global.checkpoints=null",
    ]
    config = ["-c", str(run_folder / "config.yaml")]
    told = f"{other}: label 1 is 'grey', and 'green' in {own}, the class names of these weights"
    for command in (
        ["export", str(run_folder / "best_model"), str(tmp_path / "x"), "--data", str(tmp_path)],
        ["eval", *config, *weights, "--data", str(tmp_path)],
        ["infer", *config, *weights, f"Infer.infer_imgs={tmp_path}", "--data", str(tmp_path)],
    ):
        (tmp_path / "image.png").write_bytes(b"")
        assert main(command) == 1
        assert told in capsys.readouterr().err
    export = ["export", str(run_folder / "best_model"), str(tmp_path / "x"), "--no-check"]
    other.write_text("0 bleu pâle\n1 green\n", encoding="utf-8")
    assert main([*export, "--data", str(tmp_path)]) == 1
    assert "label 2 is absent, and 'red' in" in capsys.readouterr().err
    # Numbers stand for any class.
    assert main([*export, "-o", "Infer.PostProcess.class_id_map_file=null"]) == 0
    own.write_text("0 0\n1 1\n2 2\n", encoding="utf-8")
    assert main(export) == 0


def test_an_architecture_with_other_classes_than_its_recipe_says_what_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "label_list.txt").write_text("0 cat\n1 dog\n", encoding="utf-8")
    save_weights(ppcls.create_model("SqueezeNet1_1", class_num=2), tmp_path / "mine.pdparams")
    command = ["export", "SqueezeNet1_1", str(tmp_path / "x"), "--no-check"]
    command += ["--weights", str(tmp_path / "mine.pdparams"), "-o", "Arch.class_num=2"]
    assert main(command) == 0
    told = capsys.readouterr().err
    assert told.startswith("ppcls: warning: the recipe's class names are those of ImageNet, but ")
    assert "-o Infer.PostProcess.class_id_map_file=FILE names them" in told
    assert read_bundle(tmp_path / "x").PostProcess.Topk.label_list == ["0", "1"]
    names = f"Infer.PostProcess.class_id_map_file={tmp_path / 'label_list.txt'}"
    assert main([*command, names]) == 0
    assert read_bundle(tmp_path / "x").PostProcess.Topk.label_list == ["cat", "dog"]
    monkeypatch.setenv("PPCLS_HOME", str(tmp_path / "home"))
    with pytest.raises(WeightsError, match=r"Arch.class_num=N Infer.PostProcess.class_id_map_file"):
        ppcls.Predictor("SqueezeNet1_1", pretrained=tmp_path / "mine.pdparams")


def test_the_command_exports_a_checkpoint(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out folder"
    assert main(["export", str(run_folder / "best_model"), str(target)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"exported to {target}\n")
    assert "on 9 images of" in printed
    assert "inference.json, run by Paddle Inference" in printed
    command = ["export", str(run_folder / "best_model"), str(target), "--no-check"]
    assert main([*command, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["folder"] == str(target)
    assert not record["parity"]["verified"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "needs a checkpoint, a configuration or a name"),
        (["x", "y", "-c", "z"], 2, "x and -c z are two sources"),
        (["-c", "HarDNet68", "--weights", "w"], 2, "--weights needs SOURCE"),
        (["SqueezeNet1_1", "y", "--weights", "gone"], 1, "no such weights: gone"),
        (["SqueezeNet1_1", "y", "--input-size", "0"], 2, "expected SIDE or HEIGHTxWIDTH"),
        (["SqueezeNet1_1", "y", "--format", "onnx"], 2, "invalid choice: 'onnx'"),
    ],
)
def test_the_command_names_what_is_wrong(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(["export", *arguments])
    except SystemExit as end:
        found = end.code
    assert found == status
    assert message in capsys.readouterr().err


def test_weights_of_another_model_are_refused(config_file: Path, ready: list[str]) -> None:
    with pytest.raises(WeightsError, match="made for another model than HarDNet39_ds"):
        ppcls.export(load_config(config_file, [*ready, "Arch.name=HarDNet39_ds"]))
