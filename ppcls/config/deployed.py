"""What of a configuration is deployed: of a distillation, the one model that is kept."""

from __future__ import annotations

from ppcls.config.schema import ArchOptions, Config, DistillationArch
from ppcls.errors import ConfigError
from ppcls.losses.options import CELoss, DistillationGTCELoss, MultiLabelLoss

__all__ = ["deployed_config", "refuse_several_labels"]


def deployed_config(config: Config) -> Config:
    """Return the configuration of the model that is evaluated, exported and predicts.

    Of a distillation that is `infer_model_name` alone; any other configuration is returned as it
    is.
    """
    arch = config.Arch
    if not isinstance(arch, DistillationArch):
        return config
    chosen = arch.by_name[arch.infer_model_name].model_dump(exclude={"return_patterns"})
    losses = [
        CELoss(weight=term.weight, epsilon=term.epsilon)
        if isinstance(term, DistillationGTCELoss)
        else term
        for term in config.Loss.Eval
    ]
    loss = config.Loss.model_copy(update={"Train": losses, "Eval": losses})
    return config.model_copy(update={"Arch": ArchOptions(**chosen), "Loss": loss})


def refuse_several_labels(config: Config, command: str) -> None:
    """Stop a command that would answer with the one best class of a model that knows several.

    Raises:
        ConfigError: the model gives each image any number of labels.
    """
    if any(isinstance(term, MultiLabelLoss) for term in (*config.Loss.Train, *config.Loss.Eval)):
        raise ConfigError(
            f"`{command}` answers with the best class, and this model gives images several labels "
            "(MultiLabelLoss): such models are trained and evaluated, and not deployed yet"
        )
