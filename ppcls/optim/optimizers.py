"""Optimizers."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import model_validator

from ppcls.errors import ConfigError
from ppcls.optim.schedules import ScheduleOption
from ppcls.options import NotNegative, Options, Positive, Share
from ppcls.registry import Registry
from ppcls.spelling import did_you_mean

if TYPE_CHECKING:
    import paddle
    from paddle import nn
    from paddle.regularizer import WeightDecayRegularizer

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "Momentum",
    "Optimizer",
    "OptimizerOption",
    "RMSProp",
    "Regularizer",
    "register_optimizer",
]


class Regularizer(Options):
    """A penalty on the weights w: `coeff * |w|` (L1) or `coeff / 2 * w²` (L2)."""

    name: Literal["L1", "L2"]
    coeff: NotNegative


class Optimizer(Options):
    """Options of every optimizer.

    `regularizer` adds the gradient of a penalty to that of the loss. `weight_decay` is short for L2
    with that coefficient, except in AdamW, which subtracts it directly from the weights.
    `clip_norm` limits the global gradient norm, before the penalty.
    `one_dim_param_no_weight_decay` and `no_weight_decay_name` (parts of state_dict names, separated
    by spaces) exclude parameters from either decay.
    """

    name: str
    lr: ScheduleOption
    regularizer: Regularizer | None = None
    weight_decay: NotNegative | None = None
    clip_norm: Positive | None = None
    one_dim_param_no_weight_decay: bool = False
    no_weight_decay_name: str | None = None

    @model_validator(mode="after")
    def _one_decay(self) -> Optimizer:
        if self.regularizer is not None and self.weight_decay is not None:
            raise ValueError("set one of regularizer and weight_decay, not both")
        if self.regularizer is None and self.weight_decay is None:
            for key in ("one_dim_param_no_weight_decay", "no_weight_decay_name"):
                if getattr(self, key):
                    raise ValueError(
                        f"{key} has no effect without decay: set regularizer or weight_decay"
                    )
        return self

    def build(self, model: nn.Layer) -> paddle.optimizer.Optimizer:
        """Return the optimizer for a model; the training loop sets its learning rate.

        It is Paddle's optimizer of the same name as this class, with this class's own options.

        Raises:
            ConfigError: `no_weight_decay_name` names no parameter, or Paddle has no optimizer of
                that name with these options.
        """
        import paddle

        own = type(self).model_fields.keys() - Optimizer.model_fields.keys()
        options = {key: getattr(self, key) for key in own}
        name = type(self).__name__
        known = getattr(paddle.optimizer, name, None)
        if known is None:
            raise ConfigError(
                f"Optimizer.name: {name} must define build (see ppcls.Optimizer): Paddle has no "
                "optimizer of that name"
            )
        arguments = options | self.common(model)
        unknown = sorted(arguments.keys() - inspect.signature(known).parameters.keys())
        if unknown:
            raise ConfigError(
                f"Optimizer.name: {name} must define build (see ppcls.Optimizer): Paddle's has no "
                f"option {unknown[0]!r}"
            )
        return known(**arguments)

    def decaying(self, model: nn.Layer) -> dict[str, paddle.Tensor]:
        """Return the decaying parameters of a model by state_dict name, float32 of any shape.

        Raises:
            ConfigError: a part of `no_weight_decay_name` is in no parameter's name.
        """
        parameters = dict(model.named_parameters())
        parts = (self.no_weight_decay_name or "").split()
        for part in parts:
            if not any(part in name for name in parameters):
                words = {word for name in parameters for word in name.split(".")}
                raise ConfigError(
                    f"Optimizer.no_weight_decay_name: no parameter of the model has {part!r} in "
                    f"its name{did_you_mean(part, sorted(words))}"
                )
        return {
            name: parameter
            for name, parameter in parameters.items()
            if not any(part in name for part in parts)
            and not (self.one_dim_param_no_weight_decay and len(parameter.shape) == 1)
        }

    def penalty(self) -> WeightDecayRegularizer | None:
        """Return the penalty on the decaying parameters, which adds to their gradients."""
        from paddle.regularizer import L1Decay, L2Decay

        if self.regularizer:
            return {"L1": L1Decay, "L2": L2Decay}[self.regularizer.name](self.regularizer.coeff)
        return None if self.weight_decay is None else L2Decay(self.weight_decay)

    def common(self, model: nn.Layer) -> dict[str, Any]:
        """Return the common arguments of Paddle's optimizers, and set the penalties.

        Each parameter gets its own penalty (`regularizer`), because with parameter groups Paddle
        would clip the norm of each group separately.
        """
        from paddle import nn

        decaying, penalty = self.decaying(model), self.penalty()
        for name, parameter in model.named_parameters():
            parameter.regularizer = penalty if name in decaying else None
        return {
            "learning_rate": 0.0,
            "parameters": [p for p in model.parameters() if not p.stop_gradient],
            "grad_clip": self.clip_norm and nn.ClipGradByGlobalNorm(self.clip_norm),
        }


OPTIMIZERS = Registry("optimizer", Optimizer, nested=True)
register_optimizer = OPTIMIZERS.register
OptimizerOption = Annotated[Any, OPTIMIZERS]
"""The annotation of the section `Optimizer`."""


@OPTIMIZERS.register
class SGD(Optimizer):
    """Plain stochastic gradient descent."""

    name: Literal["SGD"]


@OPTIMIZERS.register
class Momentum(Optimizer):
    """Gradient descent with momentum; `use_nesterov` selects Nesterov's."""

    name: Literal["Momentum"]
    momentum: Share = 0.9
    use_nesterov: bool = False


@OPTIMIZERS.register
class Adam(Optimizer):
    """Adam (https://arxiv.org/abs/1412.6980)."""

    name: Literal["Adam"]
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Positive = 1e-8


@OPTIMIZERS.register
class AdamW(Optimizer):
    """Adam with decoupled weight decay (https://arxiv.org/abs/1711.05101).

    The default `weight_decay` is 0.01 if no regularizer is set.
    """

    name: Literal["AdamW"]
    beta1: Share = 0.9
    beta2: Share = 0.999
    epsilon: Positive = 1e-8

    @model_validator(mode="before")
    @classmethod
    def _default_decay(cls, options: Any) -> Any:
        if not isinstance(options, dict) or options.get("regularizer") is not None:
            return options
        if options.get("weight_decay", 0) is None:
            raise ValueError("weight_decay: null is not a number; 0 turns weight decay off")
        return {"weight_decay": 0.01} | options

    def penalty(self) -> WeightDecayRegularizer | None:
        """Return the regularizer alone, because weight decay is not a penalty here."""
        return super().penalty() if self.regularizer else None

    def common(self, model: nn.Layer) -> dict[str, Any]:
        """Return the common arguments of Paddle's optimizers, and those of the weight decay."""
        decaying = {parameter.name for parameter in self.decaying(model).values()}
        return super().common(model) | {
            "weight_decay": self.weight_decay or 0.0,
            "apply_decay_param_fun": decaying.__contains__,
        }


@OPTIMIZERS.register
class RMSProp(Optimizer):
    """Divides gradients by the root of their running mean square, with momentum.

    `rho` is the decay rate of that mean
    (https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf).
    """

    name: Literal["RMSProp"]
    momentum: Share = 0.0
    rho: Share = 0.95
    epsilon: Positive = 1e-6
