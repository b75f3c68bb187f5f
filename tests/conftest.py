"""What several tests share: a small data set of real image files, and a configuration for it.

What takes long to make, a run and an exported model, is made once for a process of tests; each
test that asks for it gets a copy of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

# Several processes of tests share the cores: no library takes them all. Read where it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import pytest

from ppcls.data.folders import split_folder
from ppcls.models.catalogue import list_models, model_card

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

CONFIG = """\
Global:
  epochs: 2
  image_shape: [3, 32, 32]
  print_batch_step: 2
Arch:
  name: SqueezeNet1_1
Optimizer:
  name: Momentum
  lr: {{name: Constant, learning_rate: 0.02}}
DataLoader:
  Train:
    dataset:
      transform_ops: &transforms
        - DecodeImage:
        - ResizeImage: {{size: 32}}
        - NormalizeImage: {{scale: 1.0/255.0}}
    sampler: {{batch_size: 8, shuffle: true}}
  Eval:
    dataset:
      transform_ops: *transforms
    sampler: {{batch_size: 5}}
Infer:
  batch_size: 4
  transforms: *transforms
  PostProcess: {{topk: 2}}
"""


def smallest_of_each_family() -> list[str]:
    """Return the architecture of each family that computes least: what tests afford."""
    cards = sorted(map(model_card, list_models()), key=lambda card: -(card.macs or 0))
    return sorted({card.family: card.name for card in cards}.values())


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 12 noisy one-colour images with lists; names have spaces and accents."""
    root = tmp_path_factory.mktemp("données de test")
    rng = np.random.default_rng(0)
    for name, bgr in (
        ("bleu pâle", (250, 180, 60)),
        ("green", (40, 200, 40)),
        ("red", (0, 0, 220)),
    ):
        (root / name).mkdir()
        for i in range(12):
            noise = rng.integers(-30, 30, (24 + i, 30, 3))
            image = np.clip(np.array(bgr) + noise, 0, 255).astype(np.uint8)
            _, data = cv2.imencode(".png", image)
            (root / name / f"image {i:02d}.PNG").write_bytes(data.tobytes())
    split_folder(root, val=0.25)
    return root


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG.format(), encoding="utf-8")
    return path


@pytest.fixture
def overrides(colours: Path, tmp_path: Path) -> list[str]:
    """Point the configuration at the data set and its outputs at the test's folder."""
    from ppcls.config import data_overrides

    return [
        *data_overrides(colours),
        f"Global.output_dir={tmp_path / 'output'}",
        f"Global.save_inference_dir={tmp_path / 'inference'}",
    ]


def several_labels(colours: Path, overrides: list[str], folder: Path) -> list[str]:
    """Write lists of the coloured images with three labels: cold, warm, has any green."""
    labels = {0: "1,0,1", 1: "1,0,1", 2: "0,1,0"}
    asked = list(overrides)
    for part in ("train", "val"):
        lines = (colours / f"{part}_list.txt").read_text(encoding="utf-8").splitlines()
        pairs = [line.rpartition(" ") for line in lines]
        text = "".join(f"{path}\t{labels[int(label)]}\n" for path, _, label in pairs)
        (folder / f"{part}.txt").write_text(text, encoding="utf-8")
    names = folder / "names.txt"
    names.write_text("0 cold\n1 warm\n2 has green\n")
    for part, file in (("Train", "train.txt"), ("Eval", "val.txt")):
        asked += [
            f"DataLoader.{part}.dataset.name=MultiLabelDataset",
            f"DataLoader.{part}.dataset.cls_label_path={folder / file}",
            f"Loss.{part}=[{{MultiLabelLoss: {{weight_ratio: {part == 'Train'}}}}}]",
        ]
    asked.append("Metric.Train=[{AccuracyScore: }, {HammingDistance: }]")
    asked.append("Metric.Eval=[{HammingDistance: }, {AccuracyScore: {base: sample}}]")
    return [*asked, f"Infer.PostProcess.class_id_map_file={names}"]


@pytest.fixture
def several(colours: Path, overrides: list[str], tmp_path: Path) -> list[str]:
    """Overrides for images with several labels."""
    return several_labels(colours, overrides, tmp_path)


@pytest.fixture
def zero_weights() -> Iterator[None]:
    """Build models of zeros: random numbers take most of the time of building a large one."""
    from paddle.nn.initializer import Constant, set_global_initializer

    set_global_initializer(Constant(0.0))
    yield
    set_global_initializer(None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout, where there is one."""
    if not SHARED.is_dir():
        pytest.skip("the reference data beside the checkout is not here")
    return SHARED


def small_run(colours: Path, folder: Path) -> tuple[Path, list[str]]:
    """Write the configuration to a folder; return it and overrides with all outputs there."""
    from ppcls.config import data_overrides

    (folder / "config.yaml").write_text(CONFIG.format(), encoding="utf-8")
    outputs = [f"Global.output_dir={folder / 'output'}"]
    outputs.append(f"Global.save_inference_dir={folder / 'inference'}")
    return folder / "config.yaml", [*data_overrides(colours), *outputs]


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a model with three classes that is random, but one and the same. Not to change."""
    import paddle

    import ppcls
    from ppcls.models.weights import save_weights

    path = tmp_path_factory.mktemp("weights") / "w.pdparams"
    paddle.seed(0)
    save_weights(ppcls.create_model("SqueezeNet1_1", class_num=3), path)
    return path


@pytest.fixture
def ready(overrides: list[str], random_weights: Path, tmp_path: Path) -> list[str]:
    """The overrides with weights of the random model, the test's own."""
    shutil.copy(random_weights, tmp_path / "w.pdparams")
    return [*overrides, f"Global.pretrained_model={tmp_path / 'w'}"]


@pytest.fixture(scope="session")
def shared_bundle(
    colours: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The random model, exported. Not to change: `bundle` is a copy."""
    import ppcls
    from ppcls.config import load_config

    config, overrides = small_run(colours, tmp_path_factory.mktemp("exported"))
    weights = f"Global.pretrained_model={random_weights}"
    return ppcls.export(load_config(config, [*overrides, weights])).folder


@pytest.fixture
def bundle(shared_bundle: Path, tmp_path: Path) -> Path:
    """An exported model with three classes, where `overrides` say that exports go."""
    return shutil.copytree(shared_bundle, tmp_path / "inference")


@pytest.fixture(scope="session")
def shared_run(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch. Not to change: `finished_run` is a copy."""
    from ppcls.config import load_config
    from ppcls.training.train import train

    config, overrides = small_run(colours, tmp_path_factory.mktemp("run"))
    return train(load_config(config, [*overrides, "Global.epochs=1"])).folder


@pytest.fixture
def finished_run(shared_run: Path, tmp_path: Path) -> Path:
    """What `config_file` with `overrides` and one epoch has left, where they say."""
    folder = shutil.copytree(shared_run, tmp_path / "output" / shared_run.name)
    for name in ("config.yaml", "runs.jsonl", "train.log"):
        text = (folder / name).read_text(encoding="utf-8")
        moved = text.replace(str(shared_run.parents[1]), str(tmp_path))
        (folder / name).write_text(moved, encoding="utf-8")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let a test start Python only where it is marked so: `make test-quick` leaves those out."""
    if item.get_closest_marker("process"):
        return (yield)
    start = subprocess.Popen.__init__

    def checked(self: subprocess.Popen, args: list, *more: object, **options: object) -> None:
        if not isinstance(args, str) and args[0] == sys.executable:
            pytest.fail("a test that starts Python is to be marked: @pytest.mark.process")
        start(self, args, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", checked)
        return (yield)
