"""What docs/extending.md tells a reader to write works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

pytestmark = [pytest.mark.process, pytest.mark.training]
PAGE = ROOT / "docs/extending.md"

# Runs what the page has, in its order, in one process: what is registered is gone with it.
RUN = """
import sys
from pathlib import Path

from ppcls.cli import main

for step in sys.argv[1:]:
    if step.startswith("ppcls "):
        import shlex

        assert main(shlex.split(step)[1:]) == 0, step
    else:
        exec(compile(Path(step).read_text("utf-8"), step, "exec"), {"__name__": "__main__"})
"""


@pytest.fixture(scope="module")
def done(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which all of the page was done, with an epoch for each training."""
    pytest.importorskip("paddle2onnx")
    root = tmp_path_factory.mktemp("extending")
    (root / "photos").mkdir()
    folders = sorted(path for path in colours.iterdir() if path.is_dir())
    for name, folder in zip(("bird", "cat", "dog"), folders, strict=True):
        for i, path in enumerate(sorted(folder.iterdir())):
            shutil.copy(path, root / f"photos/{name}_{i:03}.png")
    before, _, after = PAGE.read_text("utf-8").partition("```yaml\n")
    configuration, _, after = after.partition("```")
    one_epoch = configuration.replace("image_size: 32", "image_size: 32, epochs: 1")
    assert one_epoch != configuration
    (root / "my.yaml").write_text(one_epoch, "utf-8")
    parts = blocks("python", before)
    assert len(parts) > 8
    (root / "my_parts.py").write_text("\n\n".join(parts), "utf-8")
    steps = re.findall(r"^\$ (ppcls .*)", "\n".join(blocks("console", after)), re.M)
    assert len(steps) > 3
    steps[-1] += " --json answers.json"
    for i, block in enumerate(blocks("python", after)):
        (root / f"script{i}.py").write_text(block, "utf-8")
        steps.append(f"script{i}.py")
    ran = subprocess.run(
        [sys.executable, "-c", RUN, *steps],
        cwd=root,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{root}", "PPCLS_HOME": str(root)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    assert "backend  opencv" in ran.stderr
    return root


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def test_the_parts_train_and_are_recorded(done: Path) -> None:
    run = done / "output/own/TinyNet"
    (started,) = map(json.loads, (run / "runs.jsonl").read_text("utf-8").splitlines())
    assert [(p["name"], p["version"]) for p in started["plugins"]] == [("my_parts", "1.0")]
    config = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    assert config["Global"]["plugins"] == [str(done / "my_parts.py")]
    log = (run / "train.log").read_text("utf-8")
    assert all(word in log for word in ("BrierLoss", "lr(InverseRoot)", "WorstRecall"))
    for name in ("python/TinyNet/best_model", "objects/TinyNet/best_model", "weights"):
        assert (done / f"output/{name}.pdparams").is_file()


def test_the_bundle_answers_with_the_classes(done: Path) -> None:
    spec = yaml.safe_load((done / "my_model/inference.yml").read_text("utf-8"))
    assert [(p["name"], p["classes"]) for p in spec["plugins"]] == [("my_parts", ["PadSquare"])]
    answers = json.loads((done / "answers.json").read_text("utf-8"))
    assert len(answers) == 36
    assert {name for a in answers for name in a["label_names"]} == {"bird", "cat", "dog"}
