"""`--check`: build everything a command needs, compute one batch, write nothing."""

from __future__ import annotations

import math
from contextlib import ExitStack

import paddle

from ppcls.config import Config
from ppcls.data.loader import Loader
from ppcls.distributed import on_device
from ppcls.errors import RunError
from ppcls.evaluation.evaluate import open_evaluation
from ppcls.models.normalize import Normalize
from ppcls.printable import counted
from ppcls.training.run import (
    build_run,
    deployed_model,
    open_run_data,
    refuse_output_among_images,
)

__all__ = ["check_evaluation", "check_training"]


def _images(loader: Loader, name: str, model: paddle.nn.Layer) -> str:
    """Run the model on the first batch and describe both."""
    batch = next(iter(loader.epoch()))
    model.eval()
    with paddle.no_grad():
        logits = model(Normalize(loader.affine)(paddle.to_tensor(batch.images)))
    count, height, width = batch.images.shape[:3]
    return (
        f"{name}: {counted(len(loader.dataset), 'image')}, "
        f"{counted(len(loader), 'batch', 'batches')}; the first has {counted(count, 'image')}, "
        f"height {height}, width {width}, {logits.shape[1]} logits each"
    )


def check_training(config: Config) -> list[str]:
    """Do everything `train` does up to its first update, except to write files.

    Returns:
        Lines that report what was checked, and the notes of the run.

    Raises:
        PpclsError: as `train`, except for the content of its folder.
        RunError: the loss of the first batch is not finite.
    """
    with on_device(config.Global.device) as device, ExitStack() as stack:
        data = open_run_data(config, device, stack)
        refuse_output_among_images(data)
        run = build_run(data)
        batch = next(iter(data.train.epoch(1)))
        with run.state.precision.training():
            loss, logits, _ = run.objective(batch, (config.Global.seed, 1, 0))
        run.state.precision.backward(loss)
        value = float(loss.numpy())
        if not math.isfinite(value):
            raise RunError(f"the loss of the first batch is {value}")
        count, height, width = batch.images.shape[:3]
        lines = [
            data.summary(),
            f"Train: the first batch has {counted(count, 'image')}, height {height}, width "
            f"{width}; {logits.shape[1]} logits each, loss {value:.5f}",
        ]
        if data.eval:
            lines.append(_images(data.eval, "Eval", deployed_model(config, run.state.model)))
        return lines + run.notes


def check_evaluation(config: Config, allow_random: bool = False) -> list[str]:
    """Do everything `evaluate` does, but only with the first batch.

    Raises:
        PpclsError: as `evaluate`.
    """
    with open_evaluation(config, allow_random) as parts:
        return [_images(parts.loader, "Eval", parts.model)]
