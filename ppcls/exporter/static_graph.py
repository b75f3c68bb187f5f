"""From a trained model to a bundle: static graph, weights, transforms, class names, proof."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

import ppcls
from ppcls.bundle import (
    GRAPH_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
    BundleSpec,
    image_ops_of,
    read_bundle,
    write_bundle,
)
from ppcls.cards import model_card
from ppcls.config import Config, dump_config
from ppcls.config.classes import label_names
from ppcls.config.deploy import deployed_config
from ppcls.data.transforms import Pipeline
from ppcls.engine.setup import load_trained_model, require, select_device
from ppcls.errors import ConfigError, RunError
from ppcls.exporter import parity
from ppcls.exporter.parity import check_parity, compute_logits
from ppcls.inference.backends.eager import EagerBackend
from ppcls.inference.backends.paddle import PaddleBackend

__all__ = ["ExportResult", "export"]

_PARITY_IMAGES = 64


@dataclass(frozen=True)
class ExportResult:
    """Where the exported model is, and what its `inference.yml` says."""

    folder: Path
    spec: BundleSpec


def _parity_images(config: Config, pipeline: Pipeline) -> tuple[np.ndarray, list[str], str]:
    """Return normalised images to compare with, their names, and where they came from."""
    channels, height, width = config.Global.image_shape
    rng = np.random.default_rng(0)
    data = config.DataLoader.Eval and config.DataLoader.Eval.dataset
    if data:
        samples = data.read(config.Arch.class_num)
        count = min(_PARITY_IMAGES, len(samples))
        chosen = [samples[i].path for i in np.linspace(0, len(samples) - 1, count).astype(int)]
        images = [pipeline(path, rng) for path in chosen]
        source = data.source
    else:
        chosen = [f"random image {i}" for i in range(8)]
        images = [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in chosen]
        source = "random"
    for image, name in zip(images, chosen, strict=True):
        if image.shape != (height, width, channels):
            raise ConfigError(
                f"Global.image_shape is {config.Global.image_shape}, and Infer.transforms make "
                f"{name} [{image.shape[2]}, {image.shape[0]}, {image.shape[1]}]"
            )
    return pipeline.normalize(np.stack(images)), chosen, source


def _check_same(exported: Pipeline, evaluated: Pipeline) -> None:
    """Refuse to export other transforms than the model was evaluated with."""
    same_affine = all(
        np.array_equal(a, b) for a, b in zip(exported.affine, evaluated.affine, strict=True)
    )
    if exported.image_ops != evaluated.image_ops or not same_affine:
        raise ConfigError(
            "Infer.transforms differ from DataLoader.Eval.dataset.transform_ops: what is exported "
            "must be what was evaluated; make them the same"
        )


def export(config: Config, *, allow_random: bool = False) -> ExportResult:
    """Export the weights of `Global.pretrained_model` to `Global.save_inference_dir`.

    The graph takes any batch size, of images with `Global.image_shape`. It is written only after
    it has given the model's own logits through Paddle Inference, on images of `DataLoader.Eval`
    where the configuration has that section and on random ones otherwise. An earlier export there
    is replaced.

    Raises:
        ConfigError: no weights are named (`allow_random` does without), no `Infer` section, its
            transforms are not those of the evaluation, or `Global.image_shape` is not what they
            give.
        WeightsError: the weights cannot be read or are made for another model.
        DataError: the class names do not fit the model.
        RunError: the graph disagrees with the model, or the folder cannot be written. What was
            there before stays as it was.
    """
    config = deployed_config(config)
    infer = require(config.Infer, "Infer", "ppcls export")
    select_device(config.Global.device)
    labels = label_names(config)
    model = load_trained_model(config, "ppcls export", allow_random)
    pipeline = Pipeline(infer.transforms)
    if config.DataLoader.Eval:
        _check_same(pipeline, Pipeline(config.DataLoader.Eval.dataset.transform_ops))
    batch, names, source = _parity_images(config, pipeline)
    # Before the conversion: it replaces the model's own forward by the traced one.
    expected = compute_logits(EagerBackend(model), batch, infer.batch_size)
    if not np.isfinite(expected).all():
        raise RunError("the model itself answers with numbers that are not finite")
    folder = Path(config.Global.save_inference_dir)
    foreign = [n for n in (GRAPH_FILE, WEIGHTS_FILE) if (folder / n).exists()]
    if foreign and not (folder / SPEC_FILE).exists():
        raise RunError(f"{folder / foreign[0]}: there already, and no export of ppcls")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside the final place, so that renaming moves nothing across file systems.
        work = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    except OSError as error:
        raise RunError(f"{folder}: cannot write: {error.strerror}") from None
    try:
        shape = [None, *config.Global.image_shape]
        static = paddle.jit.to_static(
            model, input_spec=[paddle.static.InputSpec(shape, "float32", name="x")], full_graph=True
        )
        paddle.jit.save(static, str(work / "inference"))
        backend = PaddleBackend(work, device=config.Global.device)
        found = compute_logits(backend, batch, infer.batch_size)
        difference = check_parity(expected, found, names)
        low, high = pipeline.affine.bias, pipeline.affine.scale * 255 + pipeline.affine.bias
        spec = {
            "Global": {"model_name": config.Arch.name},
            "card": model_card(config.Arch.name).to_dict(),
            "config_sha256": hashlib.sha256(dump_config(config).encode()).hexdigest(),
            "Input": {
                "name": "x",
                "shape": [-1, *config.Global.image_shape],
                "range": [float(low.min()), float(high.max())],
                "decode": infer.transforms[0],
            },
            "Output": {"name": backend.output_name, "classes": found.shape[1]},
            "PreProcess": {"transform_ops": image_ops_of(infer.transforms, normalized=True)},
            "PostProcess": {
                "Topk": {"topk": min(infer.PostProcess.topk, len(labels)), "label_list": labels}
            },
            "parity": {
                "verified": True,
                "images": 0 if source == "random" else len(batch),
                "source": source,
                "random_images": len(batch) if source == "random" else 0,
                "tolerance": parity.TOLERANCE,
                "checks": [
                    {
                        "file": GRAPH_FILE,
                        "engine": f"Paddle Inference {paddle.__version__}",
                        "max_difference": None if source == "random" else difference,
                        "max_difference_random": difference,
                    }
                ],
            },
            "versions": {"ppcls": ppcls.__version__, "paddle": paddle.__version__},
        }
        write_bundle(work, spec, (GRAPH_FILE, WEIGHTS_FILE))
        for name in (GRAPH_FILE, WEIGHTS_FILE, SPEC_FILE):
            (work / name).replace(folder / name)
    except OSError as error:
        raise RunError(f"{folder}: cannot write: {error.strerror or error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return ExportResult(folder, read_bundle(folder))
