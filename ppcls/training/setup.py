"""From sections of a configuration to the objects they describe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import paddle
from paddle import Tensor, nn

from ppcls import distributed
from ppcls.checkpoints.files import Checkpoint, newest_checkpoint, open_checkpoint
from ppcls.checkpoints.run_folder import run_folder
from ppcls.config import Config, load_config
from ppcls.config.from_checkpoint import run_config, run_settings
from ppcls.config.printing import diff_configs
from ppcls.data.datasets import DataOptions
from ppcls.data.image_dataset import ImageDataset
from ppcls.data.lists import LABEL_LIST, Sample, class_names
from ppcls.data.loader import Loader
from ppcls.data.samplers import DistributedEvalSampler
from ppcls.data.sampling import build_sampler
from ppcls.data.transforms.normalize import Affine
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.devices import gpu_count
from ppcls.errors import ConfigError, DataError, RunError, WeightsError, did_you_mean
from ppcls.models.base import ImageClassifier
from ppcls.models.catalogue import model_card
from ppcls.models.registry import create_model
from ppcls.models.weights import load_weights, locate_weights
from ppcls.training.provenance import changed_machine

__all__ = [
    "Normalize",
    "build_loader",
    "build_model",
    "changed_settings",
    "find_checkpoint",
    "find_weights",
    "load_trained_model",
    "on_device",
    "require",
    "seed_everything",
    "select_device",
    "start_weights",
]

T = TypeVar("T")


def require(section: T | None, name: str, command: str) -> T:
    """Return a section of the configuration that a command cannot do without.

    Raises:
        ConfigError: the section is absent.
    """
    if section is None:
        raise ConfigError(f"`{command}` needs the section {name}, which this configuration lacks")
    return section


def select_device(name: str) -> str:
    """Make `auto`, `cpu`, `gpu` or another kind Paddle's current device; return what it came to.

    Raises:
        RunError: there is no such device, or this Paddle cannot use one.
    """
    others = _other_devices()
    if name not in ("auto", "cpu", "gpu", *others):
        raise RunError(
            f"Global.device is {name}, which the installed PaddlePaddle {paddle.__version__} "
            f"cannot use; it can use {', '.join(_usable_devices(others))}"
        )
    if name in others:
        paddle.device.set_device(name)
        return name
    gpus = gpu_count()
    if name == "gpu" and not gpus:
        build = "finds none" if paddle.is_compiled_with_cuda() else "is the CPU build"
        raise RunError(
            f"Global.device is gpu, and the installed PaddlePaddle {paddle.__version__} {build}; "
            "use -o Global.device=cpu, or install a paddlepaddle-gpu that fits the driver"
        )
    device = "gpu" if gpus and name != "cpu" else "cpu"
    paddle.device.set_device(device)
    return device


@contextmanager
def on_device(name: str) -> Iterator[str]:
    """Select a device (see `select_device`) and meet the run's other processes; yield its kind.

    Raises:
        RunError: no such device, or another process cannot be reached, now or in the context.
    """
    device = select_device(name)
    distributed.init_processes()
    with distributed.naming_lost_ranks():
        yield device


def _other_devices() -> list[str]:
    """Return the kinds of devices beside CPU and GPU that this Paddle is made for."""
    return ["xpu"] * paddle.is_compiled_with_xpu() + list(
        paddle.device.get_all_custom_device_type() or []
    )


def _usable_devices(others: list[str]) -> list[str]:
    return ["cpu", *["gpu"] * (gpu_count() > 0), *others]


class Normalize(nn.Layer):
    """Images (N, H, W, 3) to the model's input, float32 (N, 3, H, W), on the device."""

    def __init__(self, affine: Affine):
        super().__init__()
        self.register_buffer("scale", paddle.to_tensor(affine.scale.reshape(3, 1, 1)))
        self.register_buffer("bias", paddle.to_tensor(affine.bias.reshape(3, 1, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, H, W, 3), uint8 or float32, to float32 (N, 3, H, W)."""
        return images.transpose([0, 3, 1, 2]).astype("float32") * self.scale + self.bias


def build_loader(
    options: DataOptions, samples: list[Sample], seed: int, rank: int = 0, world_size: int = 1
) -> Loader:
    """Return the loader over the samples of a `DataLoader` section.

    Args:
        options: the section.
        samples: what its data set holds.
        seed: of the order and of the transforms.
        rank: of this process, which prepares its share of each joint batch.
        world_size: how many processes share the work.

    Raises:
        ConfigError: the sampler and the list do not go together, such as a list too short for one
            full batch where the rest is dropped.
    """
    dataset = options.dataset
    labels: list[Any] = [sample.label for sample in samples]  # some samplers take classes alone
    sampler = build_sampler(options.sampler, labels, seed, rank, world_size)
    if not len(sampler) and not isinstance(sampler, DistributedEvalSampler):
        joint = f"{world_size} processes of " if world_size > 1 else ""
        raise ConfigError(
            f"{dataset.source}: {sampler.total} images do not fill one batch of "
            f"{joint}{sampler.batch_size}, and sampler.drop_last drops the rest; "
            "-o DataLoader.Train.sampler.batch_size="
            f"{max(1, sampler.total // world_size // 2)} is one that fits"
        )
    return Loader(
        ImageDataset(
            samples,
            Pipeline(dataset.transform_ops),
            seed,
            on_error=dataset.on_error,
            max_skipped=0.01 if dataset.max_skipped is None else dataset.max_skipped,
            in_memory=dataset.in_memory,
        ),
        sampler,
        options.loader.num_workers,
    )


def seed_everything(*entropy: int) -> None:
    """Seed Paddle's generators (initialisation, dropout) from one or several numbers."""
    paddle.seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def build_model(config: Config) -> ImageClassifier:
    """Build the architecture of a configuration with fresh weights."""
    arch = config.Arch
    return create_model(arch.name, class_num=arch.class_num, dropout=arch.dropout)


def find_checkpoint(config: Config) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint that `Global.checkpoints` names, whole, and what to tell the user.

    `auto` is the newest one in the run's own folder, if there is one.

    Raises:
        WeightsError: there is no whole checkpoint under that name.
    """
    asked = config.Global.checkpoints
    if asked is None:
        return None, []
    if asked != "auto":
        try:
            return open_checkpoint(asked, config.Global.last_epoch), []
        except WeightsError as error:
            raise WeightsError(f"{error}{_checkpoint_hint(config, asked)}") from None
    folder = run_folder(config).path
    found, notes = newest_checkpoint(folder)
    if found is None and notes:
        raise WeightsError(
            f"Global.checkpoints: auto: no checkpoint in {folder} is whole ({'; '.join(notes)}); "
            "leave Global.checkpoints out (`ppcls train` starts again with --overwrite)"
        )
    if found is None:
        notes.append(f"Global.checkpoints: auto: there is no checkpoint in {folder}: a fresh start")
    return found, notes


def _checkpoint_hint(config: Config, asked: str) -> str:
    """Say what may have been meant by the name of a checkpoint that is not there."""
    if any(Path(f"{asked}{suffix}").exists() for suffix in ("", ".json", ".pdparams")):
        return ""
    own = [p for p in run_folder(config).prefixes() if asked in (p.name, p.parent.name)]
    return f"; the run's own is {own[0]}" if own else did_you_mean(asked, ["auto"])


# A run's own class names are a copy of those given; they are compared by what they are.
_COPIED = "Infer.PostProcess.class_id_map_file"


def changed_settings(
    config: Config, labels: Sequence[str], device: str, checkpoint: Checkpoint
) -> list[str]:
    """Say which settings differ from those that the run of a checkpoint was last started with.

    They are known where the run's `config.yaml` lies beside the checkpoint.

    Args:
        config: the one to go on with.
        labels: its class names.
        device: what it came to.
        checkpoint: where the run stands.

    Raises:
        WeightsError: the checkpoint is of another architecture or number of classes.
        DataError: it knows its classes by other names, or in another order.
    """
    path = run_config(checkpoint.prefix)
    if not path.is_file():
        return []
    try:
        begun = load_config(path)
    except ConfigError as error:
        return [f"not compared with the run's last start: {str(error).splitlines()[0]}"]
    was, now = begun.Arch, config.Arch
    if was.name != now.name:
        raise WeightsError(
            f"{checkpoint.prefix}: a checkpoint of {was.name} with {was.class_num} classes, and "
            f"Arch is {now.name} with {now.class_num}; go on with it by -c {path}"
        )
    anew = (
        "; a run goes on with its own classes. Begin another one from these weights: "
        f"-o Global.checkpoints=null Global.pretrained_model={checkpoint.prefix}"
    )
    if was.class_num != now.class_num:
        raise WeightsError(
            f"{checkpoint.prefix}: the checkpoint knows {was.class_num} classes, and the "
            f"configuration and its data have {now.class_num}{anew}"
        )
    changed = [
        line.replace(": ", " ", 1)
        for line in diff_configs(run_settings(begun), run_settings(config))
        if not line.startswith(_COPIED)
    ]
    names = path.with_name(LABEL_LIST)
    if names.is_file():
        changed += _named_classes(names, labels, anew)
    changed += changed_machine(path.parent, device, distributed.world_size())
    return [f"changed since the run was last started: {line}" for line in changed]


def _named_classes(file: Path, labels: Sequence[str], anew: str) -> list[str]:
    """Say that classes have names that had none; refuse those that had others."""
    known = class_names(file, len(labels))
    if known == list(labels):
        return []
    if known == class_names(None, len(labels)):
        return [f"the class names, which were the numbers of {file}"]
    i = next(i for i, name in enumerate(known) if name != labels[i])
    raise DataError(
        f"{file}: class {i} of the checkpoint is {known[i]!r}, and of the configuration and its "
        f"data {labels[i]!r}{anew} (a class that only has a new name gets it in that file)"
    )


def find_weights(config: Config) -> tuple[Path | None, list[str]]:
    """Return the weights that a configuration names, fetched, and what to tell the user.

    `Global.checkpoints` (the prefix of a run's files) wins over `Global.pretrained_model` (a path
    or a URL), which wins over `Arch.pretrained`; a line says so where several are set, and names
    the file.

    Raises:
        WeightsError: nothing is published under that name, no such file or checkpoint, or no way
            to fetch it.
    """
    checkpoint, notes = find_checkpoint(config)
    path, more = start_weights(config, checkpoint)
    return path, notes + more


def start_weights(config: Config, checkpoint: Checkpoint | None) -> tuple[Path | None, list[str]]:
    """Return the weights to use, given the checkpoint that was found (see `find_weights`)."""
    options, arch = config.Global, config.Arch
    card = model_card(arch.name)
    arch_weights = "ssld" if arch.use_ssld else arch.pretrained
    named: dict[str, Any] = {
        "Global.checkpoints": checkpoint,
        "Global.pretrained_model": options.pretrained_model,
        "Arch.pretrained": arch_weights,
    }
    chosen = [key for key, value in named.items() if value not in (None, False)]
    if not chosen:
        return None, []
    if checkpoint is not None:
        path = checkpoint.files[".pdparams"]
    else:
        path = locate_weights(card, options.pretrained_model or arch_weights)
    return path, [f"{chosen[0]} wins over {key}: {path}" for key in chosen[1:]]


def load_trained_model(config: Config, command: str, allow_random: bool) -> ImageClassifier:
    """Build the model and load its weights (see `find_weights`), ready to answer (eval mode).

    Raises:
        ConfigError: no weights are named, and random ones were not asked for.
        WeightsError: the weights cannot be read or do not fit.
    """
    path, notes = find_weights(config)
    if path is None and not allow_random:
        raise ConfigError(
            f"`{command}` needs trained weights: -o Global.pretrained_model=PATH "
            "(or --allow-random for a model that knows nothing)"
        )
    seed_everything(config.Global.seed)
    model = build_model(config)
    if path is not None:
        notes += [f"weights  {path}", *load_weights(model, path, strict=config.Global.strict)]
    if distributed.rank() == 0:
        for note in notes:
            print(note, file=sys.stderr)
    model.eval()
    return model
