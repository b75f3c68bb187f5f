"""The configuration of `deploy/python/predict_cls.py`, in PaddleClas's keys; transform lists.

A model with an `inference.yml` has its own transforms and class names; `PreProcess` and
`PostProcess.Topk.class_id_map_file` are for models without one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ppcls.bundle import SPEC_FILE
from ppcls.config.messages import explain
from ppcls.config.yaml_files import Key, apply_overrides, read_config
from ppcls.data.transforms.base import TransformOp
from ppcls.errors import ConfigError, RunError
from ppcls.inference.model_folder import describes_itself
from ppcls.inference.predictor import Predictor
from ppcls.options import Count, Options, PathText
from ppcls.registry import follows_registries

__all__ = [
    "DeployConfig",
    "load_deploy_config",
    "open_predictor",
    "read_transforms",
    "refuse_missing_gpu",
]


class DeployGlobal(Options):
    """The model, the images and the engine.

    Attributes:
        infer_imgs: image, folder, pattern or `.txt` list.
        inference_model_dir: the exported model.
        batch_size: the batch size.
        use_gpu: use a GPU.
        enable_mkldnn: use oneDNN on a CPU; otherwise inference takes about three times as long.
        cpu_num_threads: number of CPU threads; None is all cores.
        use_fp16: use half precision, on a GPU.
        use_tensorrt: use TensorRT, on a GPU.
        gpu_mem: GPU memory to reserve at start, in MiB; None leaves it to Paddle.
        enable_benchmark: print the duration.
    """

    infer_imgs: PathText | None = None
    inference_model_dir: PathText | None = None
    batch_size: Count = 1
    use_gpu: bool = False
    enable_mkldnn: bool = True
    cpu_num_threads: Count | None = None
    use_fp16: bool = False
    use_tensorrt: bool = False
    gpu_mem: Count | None = None
    enable_benchmark: bool = False

    @model_validator(mode="after")
    def _on_what(self) -> DeployGlobal:
        for key in ("use_fp16", "use_tensorrt"):
            if getattr(self, key) and not self.use_gpu:
                raise ValueError(f"{key} is for a GPU, but use_gpu is false")
        return self

    def predictor_options(self) -> dict[str, Any]:
        """Return the arguments of `Predictor` for these options."""
        chosen: dict[str, Any] = {
            "backend": "tensorrt" if self.use_tensorrt else "paddle",
            "device": "gpu" if self.use_gpu else "cpu",
            "precision": "fp16" if self.use_fp16 else "fp32",
            "threads": None if self.use_gpu else self.cpu_num_threads,
            "batch_size": self.batch_size,
        }
        if self.use_gpu and not self.use_tensorrt and self.gpu_mem is not None:
            chosen["gpu_memory_mb"] = self.gpu_mem
        if not self.use_gpu and not self.enable_mkldnn:
            chosen["onednn"] = False
        return chosen


def refuse_missing_gpu(options: DeployGlobal, remedy: str) -> None:
    """Stop before a GPU that is not there is used.

    Args:
        options: state whether to use one.
        remedy: what selects the CPU instead.

    Raises:
        RunError: `use_gpu` is true, and there is none.
    """
    from ppcls.devices import gpu_count

    if options.use_gpu and not gpu_count():
        raise RunError(
            f"use_gpu is true, but the installed PaddlePaddle finds no GPU; use {remedy}, or "
            "install a paddlepaddle-gpu that fits the driver"
        )


@follows_registries
class DeployTransforms(Options):
    transform_ops: Annotated[list[TransformOp], Field(min_length=1)]


class DeployTopk(Options):
    """The `topk` best classes; a file of `label name` lines names them, and null numbers them."""

    topk: Count = 5
    class_id_map_file: PathText | None = None


class DeployPostProcess(Options):
    """What becomes of the scores."""

    main_indicator: Literal["Topk"] = "Topk"
    Topk: DeployTopk = DeployTopk()


@follows_registries
class DeployConfig(Options):
    """The whole of `inference_cls.yaml`."""

    Global: DeployGlobal = DeployGlobal()
    PreProcess: DeployTransforms | None = None
    PostProcess: DeployPostProcess | None = None


def _nest_topk(data: dict[str, Any], origins: dict[Key, str]) -> None:
    """Turn `PostProcess: {name: Topk, topk: 5}`, the form before 2.2, into `Topk: {topk: 5}`."""
    after = data.get("PostProcess")
    if not isinstance(after, dict):
        return
    if after.get("name") == "Topk":
        del after["name"]
    for option in DeployTopk.model_fields.keys() & after.keys():
        topk = after.setdefault("Topk", {})
        at = origins.get(("PostProcess", option), origins[("PostProcess",)])
        if not isinstance(topk, dict) or (option in topk and not at.startswith("-o ")):
            return  # the schema reports it
        topk[option], origins["PostProcess", "Topk", option] = after.pop(option), at


def load_deploy_config(source: str | Path, overrides: Sequence[str] = ()) -> DeployConfig:
    """Read a deployment configuration.

    Raises:
        ConfigError: no such file, not YAML, or a key or value that the schema does not allow; every
            problem has its own line, as in `load_config`.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"no such config file: {source}; expected one like deploy/configs/inference_cls.yaml"
        )
    data, origins = read_config(path)
    _nest_topk(data, origins)
    data, origins = apply_overrides(data, origins, overrides, DeployConfig)
    _nest_topk(data, origins)
    try:
        return DeployConfig.model_validate(data)
    except ValidationError as error:
        raise explain(error, data, origins, str(path), DeployConfig) from None


def open_predictor(config: DeployConfig) -> Predictor:
    """Return the predictor that a deployment configuration describes.

    Raises:
        ConfigError: no model is named, or another tool's model lacks transforms.
        RunError: a GPU is requested, but there is none.
        PpclsError: as `Predictor`.
    """
    options, after = config.Global, config.PostProcess
    if options.inference_model_dir is None:
        raise ConfigError("no model: -o Global.inference_model_dir=FOLDER")
    folder = Path(options.inference_model_dir)
    if not folder.is_dir():
        raise ConfigError(
            f"Global.inference_model_dir: {folder}: no such folder; `ppcls export` writes one"
        )
    refuse_missing_gpu(options, "-o Global.use_gpu=false")
    transforms = config.PreProcess.transform_ops if config.PreProcess else None
    labels = after.Topk.class_id_map_file if after else None
    topk = after.Topk.topk if after else None
    if describes_itself(folder):
        if transforms or labels:
            print(
                f"transforms and class names of the configuration are ignored: {SPEC_FILE} has "
                "those that the model was exported with",
                file=sys.stderr,
            )
        return Predictor(folder, topk=topk, **options.predictor_options())
    if not transforms:
        raise ConfigError(
            f"{folder}: no {SPEC_FILE}, so not from ppcls: the configuration needs "
            "PreProcess.transform_ops, as PaddleClas's deploy/configs/inference_cls.yaml has them"
        )
    # Without names, PaddleClas's script numbers the classes.
    return Predictor(
        folder,
        topk=topk,
        labels=labels or [],
        transforms=transforms,
        **options.predictor_options(),
    )


def read_transforms(path: Path) -> list[Any]:
    """Return the transforms of a YAML file: its `PreProcess.transform_ops`, or `transform_ops`.

    Raises:
        ConfigError: no such file, not YAML, or not a list of transforms.
    """
    data, origins = read_config(path)
    section = data.get("PreProcess", data)
    if not isinstance(section, dict) or "transform_ops" not in section:
        raise ConfigError(f"{path}: expected PreProcess.transform_ops, a list of transforms")
    found = {"PreProcess": {"transform_ops": section["transform_ops"]}}
    try:
        config = DeployConfig.model_validate(found)
    except ValidationError as error:
        raise explain(error, found, origins, str(path), DeployConfig) from None
    return list(config.PreProcess.transform_ops) if config.PreProcess else []
