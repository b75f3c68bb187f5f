"""Mixed precision: maps the section `AMP` to Paddle's `auto_cast`, `decorate`, `GradScaler`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle
from paddle import Tensor, nn

from ppcls.config.schema import AMPOptions

__all__ = ["Precision", "auto_cast_arguments", "scaler_arguments"]


def auto_cast_arguments(options: AMPOptions) -> dict[str, Any]:
    """Return the arguments of `paddle.amp.auto_cast`."""
    return {"level": options.level, "dtype": options.dtype, "use_promote": options.use_promote}


def scaler_arguments(options: AMPOptions) -> dict[str, Any]:
    """Return the arguments of `paddle.amp.GradScaler`."""
    return {
        "init_loss_scaling": options.scale_loss,
        "use_dynamic_loss_scaling": options.use_dynamic_loss_scaling,
    }


class Precision:
    """The precision of a run; float32 throughout if `options` is None, and on a CPU.

    Attributes:
        notes: lines to show the user.
    """

    def __init__(self, options: AMPOptions | None, device: str):
        self.options = options if options and options.use_amp else None
        self.scaler: paddle.amp.GradScaler | None = None
        self.notes: list[str] = []
        if self.options is None:
            return
        if device == "cpu":
            # Paddle's auto_cast has no effect there, and there are no 16-bit convolutions.
            self.options = None
            self.notes.append(
                "warning: AMP.use_amp is on, but has no effect on a CPU: training in float32"
            )
            return
        self.scaler = paddle.amp.GradScaler(**scaler_arguments(self.options))

    def decorate(
        self, model: nn.Layer, optimizer: paddle.optimizer.Optimizer
    ) -> paddle.optimizer.Optimizer:
        """Convert the model to 16-bit weights at level O2; return the optimizer."""
        if self.options is None or self.options.level == "O1":
            return optimizer
        _, decorated = paddle.amp.decorate(
            model, optimizer, level="O2", dtype=self.options.dtype, save_dtype="float32"
        )
        return decorated

    def training(self) -> AbstractContextManager:
        """The context of a forward pass in training."""
        return (
            paddle.amp.auto_cast(**auto_cast_arguments(self.options))
            if self.options
            else nullcontext()
        )

    def evaluating(self) -> AbstractContextManager:
        """The context of an evaluation: 16 bits if requested, or if the weights have 16 bits."""
        if self.options and (self.options.use_fp16_test or self.options.level == "O2"):
            return paddle.amp.auto_cast(**auto_cast_arguments(self.options))
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a loss, a float scalar."""
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def step(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Update the parameters, unless scaled gradients have overflowed."""
        if self.scaler:
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the scaler's state as plain numbers."""
        state: dict[str, Any] = dict(self.scaler.state_dict()) if self.scaler else {}
        return {key: v.item() if hasattr(v, "item") else v for key, v in state.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the scaler's state from `state_dict`."""
        if self.scaler and state:
            scale = paddle.to_tensor([state["scale"]], "float32")
            self.scaler.load_state_dict({**state, "scale": scale.numpy()})  # type: ignore[typeddict-item]
