"""`--check` builds all that a run needs and leaves nothing; the flat dialect's commands start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import paddle
import pytest
from conftest import ROOT, smallest_of_each_family

from ppcls.checkpoints.weights import build_model
from ppcls.cli import main
from ppcls.config import data_overrides, load_config
from ppcls.config.yaml_files import read_config
from ppcls.errors import ConfigError, DataError
from ppcls.models.registry import create_model
from ppcls.training.dry_run import check_evaluation, check_training

SHIPPED = sorted(p for p in ROOT.glob("configs/**/*.yaml") if "_base_" not in p.parts)
# Of ImageNet's recipes one of each family: the others are read in tests/config/test_config_files.py
# and built in tests/models/test_arch.py.
SLOW = [p for p in SHIPPED if "ImageNet" in p.parts and p.stem not in smallest_of_each_family()]


def small(path: Path) -> list[str]:
    """Return the overrides that make the images of a configuration small, in its dialect."""
    if "TRAIN" in read_config(path)[0]:
        return ["image_shape=[3, 64, 64]", "TRAIN.batch_size=2", "VALID.batch_size=2"]
    batches = [f"DataLoader.{part}.sampler.batch_size=2" for part in ("Train", "Eval")]
    return ["Global.image_size=64", *batches]


@pytest.mark.large
@pytest.mark.usefixtures("zero_weights")
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in SHIPPED],
    ids=lambda p: "/".join(p.with_suffix("").parts[-2:]),
)
def test_every_shipped_configuration_checks(path: Path, colours: Path, tmp_path: Path) -> None:
    data = read_config(path)[0]
    output = "model_save_dir" if "TRAIN" in data else "Global.output_dir"
    overrides = [*small(path), f"{output}={tmp_path / 'output'}"]
    if "models" in data.get("Arch", {}):
        config = load_config(path, overrides, data=colours)
        teacher = create_model(config.Arch.by_name["Teacher"].name, class_num=3)
        paddle.save(teacher.state_dict(), str(tmp_path / "teacher.pdparams"))
        overrides.append(f"Arch.pretrained_list.0={tmp_path / 'teacher.pdparams'}")
    lines = check_training(load_config(path, overrides, data=colours))
    assert any("Train: the first batch has 2 images" in line for line in lines)
    assert any(line.startswith("Eval: 9 images") for line in lines)
    assert not (tmp_path / "output").exists()


def test_check_finds_what_training_would(
    config_file: Path, overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["train", "-c", str(config_file), "--check", "-o", *overrides]) == 0
    said = capsys.readouterr().out
    assert "SqueezeNet1_1, 3 classes, on cpu: 27 images, 4 batches an epoch" in said
    assert "first batch has 8 images, height 32, width 32; 3 logits each, loss 1." in said
    assert not (tmp_path / "output").exists()
    with pytest.raises(DataError):
        check_training(load_config(config_file, [*overrides, "Arch.class_num=2"]))
    with pytest.raises(ConfigError, match="needs trained weights"):
        check_evaluation(load_config(config_file, overrides))
    assert check_evaluation(load_config(config_file, overrides), allow_random=True) == [
        "Eval: 9 images, 2 batches; the first has 5 images, height 32, width 32, 3 logits each"
    ]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3600,
    )


BEST = "./configs/HarDNet/HarDNet68_best_v2.yaml"


@pytest.fixture
def readme_overrides(colours: Path) -> list[str]:
    return [*data_overrides(colours, flat=True), *small(ROOT / BEST)]


@pytest.mark.process
def test_the_training_command_of_the_flat_dialect_starts(
    readme_overrides: list[str], tmp_path: Path
) -> None:
    launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    ran = run(
        tmp_path,
        *[*launcher, str(ROOT / "tools/train.py"), "-c", BEST, "--check", "-o", *readme_overrides],
    )
    log = (tmp_path / "log" / "workerlog.0").read_text()
    assert ran.returncode == 0, ran.stdout + log
    assert "HarDNet68, 3 classes, on cpu x 2: 27 images" in log
    # The batch of two images is shared by two processes.
    assert "Train: the first batch has 1 image, height 64, width 64; 3 logits each" in log


def test_a_batch_that_the_processes_cannot_share_is_named(readme_overrides: list[str]) -> None:
    uneven = [*readme_overrides, "TRAIN.batch_size=3"]
    with pytest.raises(ConfigError, match="3 images over all cards cannot be shared evenly by 2 p"):
        load_config(BEST, uneven, processes=2)


@pytest.mark.process
def test_the_evaluation_command_of_the_flat_dialect_runs(
    readme_overrides: list[str], tmp_path: Path
) -> None:
    config = load_config(BEST, readme_overrides)
    prefix = "output/HarDNet68_v2/HarDNet68/best_model/ppcls"
    (tmp_path / prefix).parent.mkdir(parents=True)
    paddle.save(build_model(config).state_dict(), str(tmp_path / f"{prefix}.pdparams"))
    command = [str(ROOT / "tools/eval.py"), "-c", BEST, "-o", f"pretrained_model={prefix}"]
    ran = run(
        tmp_path, *command, "-o", "load_static_weights=False", "-o", *readme_overrides, "--json"
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["images"] == 9
    wrong = run(tmp_path, *command, "-o", "load_static_weights=True")
    assert wrong.returncode == 2
    assert "load_static_weights: expected False, not True" in wrong.stderr
    assert "Traceback" not in wrong.stderr


@pytest.mark.process
def test_the_scripts_run_these_commands(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    for script, words in {
        "run_train_hardnet68_best.sh": ["paddle.distributed.launch", "--gpus=0,1,2,3", BEST],
        "run_test_hardnet68_best.sh": ["tools/eval.py", BEST, "load_static_weights=False"],
    }.items():
        ran = subprocess.run(
            [ROOT / "examples" / "paddleclas" / script, "-o", "epochs=1"],
            cwd=tmp_path,
            env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=True,
        )
        folder, *arguments = ran.stdout.splitlines()
        assert Path(folder) == ROOT
        assert set(words) < set(arguments)
        assert arguments[-2:] == ["-o", "epochs=1"]
        # The tool and the configuration.
        named = [a for a in arguments if a.endswith((".py", ".yaml"))]
        assert len(named) == 2
        assert all((ROOT / name).is_file() for name in named)
