"""The configuration of a fine-tuning: a short YAML file for a folder of images."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ppcls.config import Config, load_config
from ppcls.data.transforms.resize_crop import RandCropImage, RandFlipImage
from ppcls.errors import ConfigError
from ppcls.files import replacing

__all__ = ["Lists", "recipe_config", "recipe_text", "write_recipe"]

_UPDATES = 750
"""Updates of a fine-tuning; from scratch, three times as many."""

_FINE_TUNING, _FITTED = 0.3, 0.02
"""Learning rate of a fine-tuning, as a share of that of the architecture's ImageNet recipe; the
second one is for a fitted classifier, which large updates would spoil."""


@dataclass(frozen=True)
class Lists:
    """The image lists of a data set.

    Attributes:
        root, val_root: the folders that the paths in the two lists are relative to.
        train, val, labels: the lists.
        count: number of training images.
        class_num: number of classes.
    """

    root: Path
    val_root: Path
    train: Path
    val: Path
    labels: Path
    count: int
    class_num: int


def recipe_text(
    name: str,
    lists: Lists,
    output_dir: Path,
    *,
    pretrained: bool | str,
    size: int | None = None,
    epochs: int | None = None,
    head: str | None = None,
    flips: bool = True,
    fitted: bool = False,
    seed: int = 0,
    plugins: Sequence[str] = (),
) -> str:
    """Return the YAML of a training, which states its differences from the ImageNet recipe.

    Batch size, epochs and learning rate follow the number of images. The learning rate is that of
    the architecture's ImageNet recipe, times the square root of the ratio of the batch sizes; 0.3
    of it with pretrained weights.

    Args:
        name: the architecture.
        lists: the data set.
        output_dir: the folder of the run's folder.
        pretrained: as `Arch.pretrained`.
        size: side of the images in pixels; None is the architecture's.
        epochs: None follows the number of images.
        head: as `Arch.head`.
        flips: whether to flip images in training.
        fitted: whether the classifier is fitted already: a smaller learning rate, and no label
            smoothing.
        seed: as `Global.seed`.
        plugins: as `Global.plugins`.

    Raises:
        ConfigError: no such architecture.
    """
    base = load_config(name)
    batch = 8
    # At least 25 updates an epoch where there are images for it, so that few images are enough.
    while batch < 64 and lists.count >= 25 * 2 * batch:
        batch *= 2
    batch = min(batch, lists.count)
    updates = _UPDATES if pretrained else 3 * _UPDATES
    if epochs is None:
        epochs = min(60, max(10, math.ceil(updates * batch / lists.count)))
    reference = base.Optimizer.lr.reference_batch if base.Optimizer else None
    rate = _base_rate(base) * math.sqrt(batch / (reference or 256))
    rate *= _FITTED if fitted else _FINE_TUNING if pretrained else 1.0
    warmup = 0 if epochs == 1 else max(1, epochs // 20)
    patience = max(3, epochs // 5)
    schedule = {"_delete_": True, "name": "Cosine", "learning_rate": float(f"{rate:.2g}")}
    schedule |= {"warmup_epoch": warmup} if warmup else {}
    # Networks without batch normalisation need it: one large update spoils them for good.
    optimizer = {"clip_norm": 1.0, "lr": schedule}
    arch: dict[str, Any] = {"name": name, "class_num": lists.class_num}
    arch |= {"head": head} if head else {}
    # Last, so that it is easy to see and to change.
    arch |= {"pretrained": pretrained}
    settings: dict[str, Any] = {"epochs": epochs, "output_dir": str(output_dir)}
    settings |= {"image_size": size} if size else {}
    settings |= {"seed": seed} if seed else {}
    settings |= {"plugins": list(plugins)} if plugins else {}
    settings |= {"early_stop_patience": patience, "save_interval": epochs}
    dataset: dict[str, Any] = {"image_root": str(lists.root), "cls_label_path": str(lists.train)}
    transforms = _train_transforms(base, flips)
    held = {"image_root": str(lists.val_root), "cls_label_path": str(lists.val)}
    sampler = {"batch_size": batch, "shuffle": True, "drop_last": True}
    inference = {"topk": min(5, lists.class_num), "class_id_map_file": str(lists.labels)}
    kind = "Fine-tuning" if pretrained else "Training"
    lines = [
        f"# {kind} {name} on {lists.count} images; repeat it with `ppcls train -c THIS_FILE`.",
        f"_base_: {_flow(name)}",
        f"Global: {_flow(settings)}",
        f"Arch: {_flow(arch)}",
        f"Loss: {_flow({'Train': [{'CELoss': {} if fitted else {'epsilon': 0.1}}]})}",
        f"Optimizer: {_flow(optimizer)}",
        "DataLoader:",
        "  Train:",
        f"    dataset: {_flow(dataset | {'batch_transform_ops': []})[:-1]},",
        f"      transform_ops: {_flow(transforms)}}}",
        f"    sampler: {_flow(sampler)}",
        f"  Eval: {_flow({'dataset': held, 'sampler': {'batch_size': 32}})}",
        f"Infer: {_flow({'PostProcess': inference})}",
        f"Metric: {_flow({part: [{'TopkAcc': {'topk': [1]}}] for part in ('Train', 'Eval')})}",
    ]
    return "\n".join(lines) + "\n"


def recipe_config(text: str, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration of a recipe's text with overrides.

    Raises:
        ConfigError: an override is wrong.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, overrides)


def write_recipe(path: Path, text: str, overwrite: bool) -> None:
    """Write the text of a recipe, but not over one that was edited.

    Raises:
        ConfigError: the file exists with another text, and `overwrite` is false.
        RunError: the file cannot be written.
    """
    if path.exists() and not overwrite:
        try:
            if path.read_text(encoding="utf-8") == text:
                return
        except (OSError, UnicodeDecodeError):
            pass  # not ours either
        raise ConfigError(
            f"{path} exists and differs from the recipe for these options and images; train it "
            f"with `ppcls train -c {path}`, or replace it with --overwrite"
        )
    with replacing(path) as file:
        file.write_text(text, encoding="utf-8")


def _base_rate(base: Any) -> float:
    """Return the highest learning rate of a recipe."""
    if base.Optimizer is None:
        raise ConfigError(f"the recipe of {base.Arch.name} has no Optimizer")
    lr = base.Optimizer.lr
    return float(getattr(lr, "learning_rate", None) or max(lr.values))


def _train_transforms(base: Any, flips: bool) -> list[Any]:
    """Return the recipe's training transforms, with gentler crops, and with or without flips."""
    found = []
    for op in base.transforms("Train"):
        if isinstance(op, RandCropImage):
            op = op.model_copy(update={"scale": [0.35, 1.0]})
        if isinstance(op, RandFlipImage) and not flips:
            continue
        found.append(op.model_dump(exclude_defaults=True, exclude_none=True))
    return found


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value.replace("_", "").isalnum() and value[0].isalpha():
        return value
    return json.dumps(value, ensure_ascii=False)
