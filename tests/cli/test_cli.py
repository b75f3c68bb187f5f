"""The command line as a user meets it: real processes, their output and exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import ppcls
from ppcls.cli import _parser, main
from ppcls.models.weights import save_weights


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_weights(ppcls.create_model("SqueezeNet1_1", class_num=3), tmp_path / "w.pdparams")
    return tmp_path / "w.pdparams"


@pytest.mark.process
def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys\nfrom ppcls.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print({'paddle', 'numpy', 'cv2', 'pydantic', 'matplotlib'} & set(sys.modules))"
    )
    out = run("-c", code).stdout
    assert out.endswith("set()\n")
    assert "examples:" in out
    for command in ("train", "eval", "infer", "export", "predict", "list", "info", "data"):
        assert f"\n    {command} " in out


@pytest.mark.parametrize(
    "command", ["train", "eval", "infer", "export", "predict", "list", "info", "data", "data split"]
)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--help"])
    assert stopped.value.code == 0
    assert f"examples:\n  ppcls {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", ["N D --weights W --onnx", "N --weights W D --onnx", "--onnx --weights W N D"]
)
def test_options_stand_before_between_and_after_the_arguments(arguments: str) -> None:
    args = _parser("ppcls").parse_args(["export", *arguments.split()])
    assert (args.source, args.folder, args.weights, args.onnx) == ("N", "D", "W", True)


@pytest.mark.process
def test_onnx_runtime_sends_nothing_and_says_nothing_without_a_home(tmp_path: Path) -> None:
    code = (
        "import os\nfrom ppcls.inference.backends.onnxruntime import OnnxRuntimeBackend\n"
        "print(bool(OnnxRuntimeBackend.capability().version), os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    environment = os.environ | {"HOME": "/proc/none"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert (found.stdout, found.stderr) == ("True 1\n", "")


@pytest.mark.process
def test_importing_ppcls_costs_nothing_and_prediction_pulls_in_no_training_code() -> None:
    out = run(
        "-c",
        "import sys, ppcls\n"
        "print(ppcls.list_models('HarDNet39*'))\n"
        "import ppcls.inference.predictor\n"
        "print([m for m in sys.modules if m == 'paddle' or m.startswith(('ppcls.training', "
        "'ppcls.models.registry', 'ppcls.config', 'ppcls.exporting'))])",
    )
    assert out.stdout.splitlines() == ["['HarDNet39_ds']", "[]"], out.stderr


@pytest.mark.process
def test_without_paddle_the_error_says_what_to_install() -> None:
    code = (
        "import importlib.abc, sys\n"
        "class NoPaddle(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'paddle':\n"
        "            raise ModuleNotFoundError(\"No module named 'paddle'\", name='paddle')\n"
        "sys.meta_path.insert(0, NoPaddle())\n"
    )
    for use in (
        "import ppcls; ppcls.create_model('HarDNet39_ds')",
        "import ppcls.training.train",
        "from ppcls.cli import main; sys.exit(main(['eval', '-c', 'quick_start/HarDNet39_ds']))",
    ):
        out = run("-c", code + use)
        assert out.returncode == 1
        message = out.stderr.strip().splitlines()[-1]
        assert "PaddlePaddle is not installed. CPU: pip install 'ppcls[cpu]'" in message
        assert "paddlepaddle.org.cn/packages/stable/" in message
    listed = run("-c", code + "from ppcls.cli import main; sys.exit(main(['list']))")
    assert listed.returncode == 0
    assert "HarDNet39_ds" in listed.stdout


def test_list(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "squeezenet1_1"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "params", "MACs", "input", "top-1", "top-5", "checkpoints"]
    assert row.split() == [
        *("SqueezeNet1_1", "1.24M", "0.35G", "224", "0.6010", "0.8190", "published")
    ]
    assert main(["list", "*HRNet_W[16]?_C"]) == 0
    found = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert found["HRNet_W18_C"].endswith("0.7690  0.9340  published, ssld")
    assert found["SE_HRNet_W64_C"].endswith("-       -  ssld")
    assert found["HRNet_W60_C"].endswith("-       -  -")
    assert main(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["name"] for r in rows] == ppcls.list_models()
    assert main(["list", "nothing"]) == 2


def test_info(capsys: pytest.CaptureFixture) -> None:
    assert main(["info", "HRNet_W48_C"]) == 0
    out = capsys.readouterr().out
    card = ppcls.model_card("HRNet_W48_C")
    for text in (
        card.paper,
        "https://arxiv.org/abs/1908.07919",
        "77,466,024 parameters",
        "17,277,996,032 multiply-accumulates for 224x224 pixels",
        "short side to 256 (bilinear), centre crop of 224",
        "mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        "checkpoint published, Apache-2.0",
        *(checkpoint.url for checkpoint in card.checkpoints),
        "top-1 0.7900, top-5 0.9440",
        "top-1 0.8360, top-5 0.9680",
        "77.47 M parameters, 34.58 GFLOPs",
        *card.disagreements(),
    ):
        assert text in " ".join(out.split())
    assert ["V100,", "FP32", "11.09", "17.04", "27.28"] in [x.split() for x in out.splitlines()]
    assert main(["info", "HarDNet68"]) == 0
    assert "24.122/7.282%" in capsys.readouterr().out
    assert main(["info", "SE_HRNet_W18_C"]) == 0
    assert "checkpoints    none published" in capsys.readouterr().out
    assert main(["info", "DPN68", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checkpoints"][0]["published"]["t4_fp16"] == [11.7827, 13.12652, 16.19213]
    assert len(found["disagreements"]) == 2


@pytest.mark.process
def test_the_whole_way_by_the_scripts(config_file: Path, overrides: list[str], tmp_path) -> None:
    """Train, evaluate, infer, export and predict, with the scripts of `tools/` and the command."""
    tools, o = ROOT / "tools", ["-o", *overrides]
    trained = run(tools / "train.py", "-c", config_file, *o, "-o", "Global.epochs=1", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "trained in 0 min" in trained.stdout
    assert "[Train][Epoch 1/1][Iter: 0/4]" in trained.stderr
    folder = tmp_path / "output/SqueezeNet1_1"

    o += [f"Global.pretrained_model={folder / 'best_model'}"]
    evaluated = run(tools / "eval.py", "-c", folder / "config.yaml", *o, "--json", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    found = json.loads(evaluated.stdout)
    assert found["images"] == 9

    exported = run(tools / "export_model.py", "-c", folder / "config.yaml", *o, cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert "parity check passed: same best class and logits on 9 images" in exported.stdout

    image_root = json.loads(overrides[1].partition("=")[2])
    lists = Path(image_root) / "val_list.txt"
    grid = tmp_path / "grid.png"
    predicted = run("-m", "ppcls", "predict", tmp_path / "inference", lists, "--grid", grid)
    assert predicted.returncode == 0, predicted.stderr
    assert f"top-1 {found['top1']:.5f}" in predicted.stderr
    assert grid.read_bytes().startswith(b"\x89PNG")

    inferred = run(
        tools / "infer.py", "-c", config_file, *o, f"Infer.infer_imgs={lists}", cwd=tmp_path
    )
    assert inferred.returncode == 0, inferred.stderr
    ours, theirs = (
        [json.loads(line) for line in out.stdout.splitlines()] for out in (predicted, inferred)
    )
    assert [r["filename"] for r in ours] == [r["filename"] for r in theirs]
    assert [r["class_ids"] for r in ours] == [r["class_ids"] for r in theirs]
    for out in (trained, evaluated, exported, predicted, inferred):
        assert "Warning" not in out.stderr


def test_a_usage_error_shows_the_usage_of_its_command(capsys: pytest.CaptureFixture) -> None:
    for command, arguments, message in (
        (
            "train",
            ["-c", "x", "--over-write"],
            "unrecognized arguments: --over-write; did you mean ",
        ),
        ("list", ["a", "b"], "unrecognized arguments: b"),
        ("data split", ["x", "--vall", "1"], "unrecognized arguments: --vall 1; did you mean '--v"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*command.split(), *arguments])
        assert stopped.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith(f"usage: ppcls {command} ")
        assert message in err


@pytest.mark.process
def test_paddles_remark_about_compiling_is_not_shown() -> None:
    for use in ("ppcls.create_model", "from ppcls import devices; devices.gpu_count()"):
        out = run("-W", "always", "-c", f"import ppcls; {use}")
        assert out.returncode == 0, out.stderr
        assert "ccache" not in out.stderr


USAGE = [
    (["config", "--schema", "-o", "Global.epochs=1"], "--schema covers all configurations"),
    (["config"], "name a configuration, such as"),
    (
        ["convert", "{weights}", "x.foo"],
        "OUT must end in .pdparams, .safetensors, .npz, but is x.foo",
    ),
    (["data", "list", "{data}", "--out", "x.foo"], "a file that ends in .txt, .csv, .jsonl"),
    (["data", "split", "{data}", "--seed", "-1"], "expected a whole number, 0 or more, not -1"),
    (
        ["predict", "{data}", "x", "--grid", "{data}.png/a.png"],
        "a .png file in an existing folder",
    ),
    (
        [
            "export",
            "-c",
            "{config}",
            "-o",
            "Optimizer={{name: AdamW, lr: {{name: Constant, learning_rate: 1}}, momentum: 1}}",
        ],
        "known here: name, lr, regularizer",
    ),
    (
        ["train", "-c", "{config}", "-o", "Optimizer.lr.warmup_epoch=2"],
        "a warm-up of 2 epochs leaves nothing of Global",
    ),
    (
        [
            "train",
            "-c",
            "{config}",
            "-o",
            "DataLoader.Train.sampler={{batch_size: 99, drop_last: true}}",
        ],
        "-o DataLoader.Train.sampler.batch_size=13 is one that fits",
    ),
    (
        [
            "train",
            "-c",
            "{config}",
            "-o",
            "DataLoader.Eval.dataset.transform_ops.1={{RandFlipImage: }}",
        ],
        "RandFlipImage is random, which is for training only, not DataLoader.Eval",
    ),
    (
        [
            "export",
            "-c",
            "{config}",
            "-o",
            "Global.pretrained_model={weights}",
            "Infer.transforms.2.NormalizeImage.mean=[0, 0, 0]",
        ],
        "Infer.transforms differ from DataLoader.Eval.dataset.transform_ops",
    ),
    # arguments, the message's part; all exit with 2
    (["train"], "the following arguments are required: -c/--config"),
    (["trian"], "invalid choice: 'trian'"),
    (["train", "-c", "gone.yaml"], "error: no such config file: gone.yaml"),
    (["eval", "-c", "gone.yaml"], "error: no such config file: gone.yaml"),
    (["infer", "-c", "{config}", "-o", "Infer.infer_img=x"], "did you mean 'infer_imgs'?"),
    (["train", "-c", "{config}", "-o", "Global.epoch=1"], "did you mean 'epochs'?"),
    (["train", "-c", "{config}", "-o", "pretrained_model=x"], "'Global.pretrained_model'?"),
    (["eval", "-c", "{config}"], "needs trained weights: -o Global.pretrained_model=PATH"),
    (["export", "-c", "{config}"], "needs trained weights: -o Global.pretrained_model=PATH"),
    (["infer", "-c", "{config}", "-o", "Infer.infer_imgs={data}"], "needs trained weights"),
    (["infer", "-c", "{config}"], "needs images: -o Infer.infer_imgs=FILE_OR_FOLDER"),
    (["train", "-c", "{config}", "-o", "Optimizer=null"], "needs the section Optimizer"),
    (["eval", "-c", "{config}", "-o", "DataLoader.Eval=null"], "the section DataLoader.Eval"),
    (["export", "-c", "{config}", "-o", "Infer=null"], "needs the section Infer"),
    (["predict", "{data}"], "needs an INPUT or --list"),
    (["predict", "{data}", "x", "--topk", "0"], "expected a positive integer, not 0"),
    (["predict", "{data}", "x", "--grid", "a.jpg"], "expected a .png file in an existing folder"),
    (["info", "DPN-68"], "no architecture is called 'DPN-68'; did you mean 'DPN68'?"),
    (["info"], "the following arguments are required: NAME"),
    (["data", "split", "{data}", "--val", "1.5"], "expected a number above 0 and below 1, not 1.5"),
]
RUN_TIME = [
    (
        ["eval", "-c", "{config}", "-o", "Global.pretrained_model={empty}"],
        "is a folder, not a weights file",
    ),
    (["train", "-c", "{config}", "-o", "Global.output_dir={weights}"], "cannot write: Not a dir"),
    (["data", "digits", "{data}"], "not a file of the digits; name a new folder"),
    (["data", "digits", "{weights}"], "this is a file; name a folder"),
    # the same, with exit status 1
    (["eval", "-c", "{config}", "-o", "Global.pretrained_model=gone"], "no such weights: gone"),
    (
        ["train", "-c", "{config}", "--data", "{empty}"],
        "expected a folder of images for each class",
    ),
    (["eval", "-c", "{config}", "--data", "{empty}"], "label_list.txt: no such file; `ppcls data"),
    (["data", "split", "{empty}"], "expected a folder of images for each class, found no folder"),
    (["data", "split", "{empty}/gone"], "gone: no such folder"),
    (["predict", "{empty}", "{data}"], "not an exported model: it has none of inference.json,"),
    (["predict", "{empty}", "{empty}"], "no images in this folder"),
    (["predict", "{empty}", "gone.png"], "gone.png: no such file or folder"),
    (
        ["train", "-c", "{config}", "-o", "DataLoader.Train.dataset.cls_label_path=gone.txt"],
        "no such image list: gone.txt (seen from /",
    ),
    (
        ["train", "-c", "{config}", "-o", "DataLoader.Train.dataset.image_root={empty}"],
        "train_list.txt:1: no such image: ",
    ),
    (["train", "-c", "{config}", "-o", "Arch.class_num=2"], "label 2 is not in 0..1; set Arch"),
    (["train", "-c", "{config}", "-o", "Arch.class_num=4"], "3 class names for a model with 4"),
    (["train", "-c", "{config}", "-o", "Global.output_dir=/proc/x"], "cannot write: "),
]
OTHER_CLASSES = [
    ["eval", "-c", "{config}", "-o", "Arch.class_num=7"],
    ["infer", "-c", "{config}", "-o", "Arch.class_num=7", "Infer.infer_imgs={data}"],
    ["export", "-c", "{config}", "-o", "Arch.class_num=7"],
]


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [(a, m, 2) for a, m in USAGE]
    + [(a, m, 1) for a, m in RUN_TIME]
    + [
        (
            [*a, "Global.pretrained_model={weights}", "Infer.PostProcess.class_id_map_file=null"],
            "these weights have 3 classes, but the model has 7; set Arch.class_num=3",
            1,
        )
        for a in OTHER_CLASSES
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    arguments: list[str],
    message: str,
    status: int,
    config_file: Path,
    overrides: list[str],
    colours: Path,
    weights: Path,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    # The overrides go into the file, so that the command line holds the mistake alone.
    from ppcls.config import dump_config, load_config

    config_file.write_text(dump_config(load_config(config_file, overrides)), encoding="utf-8")
    values = {
        "config": config_file,
        "data": colours,
        "empty": tmp_path / "empty",
        "weights": weights,
    }
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    capfd.readouterr()
    try:
        found = main([a.format(**values) for a in arguments])
    except SystemExit as stopped:  # argparse's own way out
        found = stopped.code
    err = capfd.readouterr().err
    assert message in err
    assert found == status
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if "error: " in line]
    assert len(errors) in (1, 11)  # of what is wrong in lists the first ten, and how many more
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


@pytest.mark.process
def test_broken_images_do_not_stop_the_others(
    config_file: Path, overrides: list[str], weights: Path, colours: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no")
    options = ["-c", str(config_file), "-o", *overrides, f"Global.pretrained_model={weights}"]
    assert main(["export", *options]) == 0
    out = run(
        "-m", "ppcls", "predict", tmp_path / "inference", tmp_path / "broken.jpg", colours / "red"
    )
    assert out.returncode == 1
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(rows) == 13
    assert "not an image that can be decoded" in rows[0]["error"]
    assert all(row["error"] is None and len(row["class_ids"]) == 2 for row in rows[1:])
    assert "1 of 13 images could not be read" in out.stderr
    table = run("-m", "ppcls", "predict", tmp_path / "inference", colours / "red", "--format=table")
    assert table.stdout.count("image ") == 12


@pytest.mark.process
def test_a_closed_pipe_ends_quietly() -> None:
    shell = f"{sys.executable} -m ppcls list --json | head -1"
    out = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert out.stdout == "[\n"
    assert out.stderr == ""
