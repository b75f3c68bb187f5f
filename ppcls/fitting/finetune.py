"""Fine-tuning of all layers from the fitted classifier (https://arxiv.org/abs/2202.10054)."""

from __future__ import annotations

import json
import time

import paddle

from ppcls.checkpoints.run_folder import RunFolder
from ppcls.checkpoints.weights import build_model
from ppcls.config import Config, load_config
from ppcls.config.from_checkpoint import RUN_CONFIG, trained_config
from ppcls.evaluation.evaluate import evaluate
from ppcls.evaluation.results import Evaluation
from ppcls.exporting.export import export
from ppcls.training.callbacks import Callback
from ppcls.training.train import Trainer, train

__all__ = ["fine_tune"]

_EPOCHS, _PATIENCE = 12, 3
_MARGIN = 0.8
"""The share of the time to plan for: other programs may slow an epoch down."""


class _Best(Callback):
    """Keeps the best accuracy of the fine-tuned models, which the linear classifier may exceed."""

    score: float | None = None

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Compare an evaluation with the earlier ones."""
        self.score = found.score if self.score is None else max(self.score, found.score)


class _Deadline(Callback):
    """Ends a run before an epoch that would not fit into the time."""

    def __init__(self, seconds: float):
        self._start, self._seconds, self._last = time.monotonic(), seconds, time.monotonic()

    def on_eval(self, trainer: Trainer, epoch: int, found: Evaluation) -> None:
        """Compare the time left with that of the last epoch."""
        now = time.monotonic()
        epoch_seconds, self._last = now - self._last, now
        if now - self._start + epoch_seconds > self._seconds:
            trainer.end("the time for fine-tuning is over (minutes)")


def fine_tune(
    run: RunFolder, config: Config, linear: Evaluation, minutes: float | None
) -> tuple[float | None, Evaluation, list[str]]:
    """Train all layers of a fitted run, export the better model, and evaluate it.

    Args:
        run: the folder that the fit wrote.
        config: its configuration.
        linear: the evaluation of the linear classifier.
        minutes: the time; None trains until it no longer helps.

    Returns:
        The best accuracy of the fine-tuned models on the validation images, None if the time is
        too short; the evaluation of the kept model; and lines for the user.

    Raises:
        Stopped: a signal stopped the training, which is saved.
        RunError: a loss is not finite, or a folder cannot be written.
    """
    epochs = _EPOCHS
    callbacks: list[Callback] = []
    if minutes is not None:
        one = _epoch_seconds(config)
        epochs = min(_EPOCHS, int(60 * minutes * _MARGIN / one))
        if not epochs:
            return (
                None,
                linear,
                [
                    f"warning: one epoch of fine-tuning takes about {one / 60:.1f} minutes, more "
                    f"than the {minutes:g} allowed (--minutes): the linear classifier is kept"
                ],
            )
        callbacks.append(_Deadline(60 * minutes))
    best = _Best()
    overrides = [
        "Global.checkpoints=auto",
        f"Global.epochs={epochs}",
        f"Global.save_interval={epochs}",
        f"Global.early_stop_patience={_PATIENCE}",
        f"Optimizer.lr.warmup_epoch={min(1, epochs - 1)}",
    ]
    train(load_config(run.path / RUN_CONFIG, overrides), callbacks=[*callbacks, best])
    kept = trained_config(
        run.checkpoint("best_model"),
        [f"Global.save_inference_dir={json.dumps(config.Global.save_inference_dir)}"],
    )
    evaluation = linear
    if best.score is not None and best.score >= linear.score:
        evaluation = evaluate(kept)
        export(kept)
    return best.score, evaluation, []


def _epoch_seconds(config: Config) -> float:
    """Return about how long an epoch and its evaluation take, from one update of the weights."""
    loaders = config.DataLoader
    assert loaders.Train is not None
    assert loaders.Eval is not None
    counts = [
        len(part.dataset.read(config.Arch.class_num)) for part in (loaders.Train, loaders.Eval)
    ]
    batch = loaders.Train.sampler.batch_size
    model = build_model(config)
    images = paddle.randn([batch, *config.input_shape()])
    seconds = 0.0
    for _ in range(2):  # the first one also prepares the operators
        start = time.perf_counter()
        model(images).mean().backward()
        seconds = time.perf_counter() - start
    # An evaluation only computes forwards, a third of the work.
    return seconds / batch * (counts[0] + counts[1] / 3)
