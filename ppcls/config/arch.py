"""The section `Arch`: one model, or the models of a distillation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from ppcls.models.catalogue import list_models, model_card, unknown
from ppcls.options import Classes, Options, PathText, Share, none_is_empty
from ppcls.spelling import did_you_mean

__all__ = ["ArchOption", "ArchOptions", "DistillationArch", "DistilledModel"]


class ArchOptions(Options):
    """The model.

    Attributes:
        name: the architecture, as `ppcls list` prints it.
        class_num: number of classes.
        dropout: dropout rate before the last layer, for architectures with dropout; null is the
            published rate.
        head: `linear` replaces the architecture's own head by a linear layer on the means of the
            last feature map, with the parameters `linear_head.weight` and `linear_head.bias`; null
            is the architecture's own.
        pretrained: pretrained weights: true for the published ImageNet weights, a file, or a URL.
            With another number of classes the last layer is untrained.
        use_ssld: with `pretrained: true`, use the distilled weights (SSLD).
        freeze: patterns of parameter names that are not trained, such as `base.0.*`; a frozen
            batch normalisation keeps its statistics.
        use_sync_bn: synchronise batch normalisation over all GPUs.
        grad_checkpointing: recompute the feature maps within blocks in the backward pass instead
            of storing them: less memory, more time (DenseNet, HarDNet, DPN).
    """

    name: str
    class_num: Classes = 1000
    dropout: Share | None = None
    head: Literal["linear"] | None = None
    pretrained: bool | str = False
    use_ssld: bool = False
    freeze: list[str] = []
    use_sync_bn: bool = False
    grad_checkpointing: bool = False

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in list_models():
            raise ValueError(unknown(name))
        return name

    @field_validator("pretrained", mode="before")
    @classmethod
    def _none_is_false(cls, pretrained: Any) -> Any:
        return False if pretrained is None else pretrained

    @model_validator(mode="after")
    def _has_dropout(self) -> ArchOptions:
        if self.dropout is not None and model_card(self.name).dropout is None:
            raise ValueError(f"{self.name} has no dropout")
        if self.dropout is not None and self.head:
            raise ValueError(f"dropout has no effect with head: {self.head}; leave one of them out")
        return self

    @model_validator(mode="after")
    def _ssld_of_what(self) -> ArchOptions:
        if self.use_ssld and self.pretrained is not True:
            raise ValueError("use_ssld selects published weights: set pretrained: true, too")
        return self

    @property
    def student(self) -> str | None:
        """The name of the deployed model of a distillation; None for a single model."""
        return None

    def deployed(self) -> ArchOptions:
        """Return the section of the model to evaluate, export and predict with."""
        return self


class DistilledModel(ArchOptions):
    """One of the models of a distillation.

    Attributes:
        return_patterns: names of the layers, such as `base.4`, whose outputs the losses compare.
    """

    return_patterns: Annotated[
        list[str], BeforeValidator(none_is_empty, json_schema_input_type=list[str] | None)
    ] = []


class DistillationArch(ArchOptions):
    """Several models, some of which learn from others.

    Attributes:
        models: maps of one name to one model: `[{Teacher: {…}}, {Student: {…}}]`; `class_num`
            defaults to that of this section.
        freeze_params_list: for each model, whether it is frozen; frozen models stay in evaluation
            mode.
        pretrained_list: for each model, the path or URL of its weights, or null.
        infer_model_name: the model to evaluate and deploy.
    """

    name: Literal["DistillationModel"]
    models: Annotated[
        list[Annotated[dict[str, DistilledModel], Field(min_length=1, max_length=1)]],
        Field(min_length=2),
    ]
    freeze_params_list: list[bool] | None = None
    pretrained_list: list[PathText | None] | None = None
    infer_model_name: str = "Student"

    @model_validator(mode="before")
    @classmethod
    def _same_classes(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("models"), list):
            return data
        classes = data.get("class_num", 1000)
        models = [
            {k: {"class_num": classes, **v} if isinstance(v, dict) else v for k, v in m.items()}
            if isinstance(m, dict)
            else m
            for m in data["models"]
        ]
        return {**data, "models": models}

    @property
    def by_name(self) -> dict[str, DistilledModel]:
        """The models by their names."""
        return {name: model for entry in self.models for name, model in entry.items()}

    @property
    def frozen(self) -> set[str]:
        """The names of the models that are not trained."""
        flags = self.freeze_params_list or [False] * len(self.models)
        return {name for name, flag in zip(self.by_name, flags, strict=True) if flag}

    @property
    def student(self) -> str:
        """The name of the deployed model."""
        return self.infer_model_name

    def deployed(self) -> ArchOptions:
        """Return the section of the deployed model."""
        model = self.by_name[self.infer_model_name]
        return ArchOptions(**model.model_dump(exclude={"return_patterns"}))

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> DistillationArch:
        names, count = list(self.by_name), len(self.models)
        if len(names) < count:
            raise ValueError("models: every model needs its own name")
        for key in ("freeze_params_list", "pretrained_list"):
            values = getattr(self, key)
            if values is not None and len(values) != count:
                raise ValueError(f"{key} has {len(values)} entries for {count} models")
        if self.infer_model_name not in names:
            hint = did_you_mean(self.infer_model_name, names)
            raise ValueError(f"infer_model_name: no model {self.infer_model_name!r} here{hint}")
        if self.infer_model_name in self.frozen:
            raise ValueError(
                f"infer_model_name: {self.infer_model_name} is frozen and learns nothing"
            )
        for name, model in self.by_name.items():
            if model.class_num != self.class_num:
                raise ValueError(
                    f"models: {name} has {model.class_num} classes, but Arch.class_num is "
                    f"{self.class_num}"
                )
        of_one = ArchOptions.model_fields
        for key in sorted(of_one.keys() - {"name", "class_num"}):
            if getattr(self, key) != of_one[key].default:
                raise ValueError(f"{key} is an option of each model: write it in Arch.models")
        return self


def _arch_class(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else getattr(value, "name", None)
    return "DistillationArch" if name == "DistillationModel" else "ArchOptions"


ArchOption = Annotated[
    Annotated[ArchOptions, Tag("ArchOptions")]
    | Annotated[DistillationArch, Tag("DistillationArch")],
    Discriminator(_arch_class),
]
"""The annotation of the section."""
