"""The names of the classes: from a label list, or from the folders that hold them."""

from __future__ import annotations

from pathlib import Path

from ppcls.config.from_checkpoint import run_config
from ppcls.config.schema import Config
from ppcls.data.datasets import BY_DATA
from ppcls.data.lists import LABEL_LIST, class_names, different_names, read_label_names
from ppcls.errors import DataError

__all__ = ["label_names", "resolve_classes", "trained_label_names"]


def resolve_classes(config: Config) -> Config:
    """Return the configuration with the classes that its data sets have found written out.

    A run that saves it knows the label of each folder whatever becomes of the data set.

    Raises:
        DataError: the folders to train on and to evaluate on have different classes.
    """
    loaders = config.DataLoader
    parts = {"Train": loaders.Train, "Eval": loaders.Eval}
    datasets = {name: part.dataset for name, part in parts.items() if part}
    found = {name: dataset.found_classes() for name, dataset in datasets.items()}
    classes = {name: names for name, names in found.items() if names}
    if len(classes) == 2 and classes["Train"] != classes["Eval"]:
        odd = sorted(set(classes["Train"]) ^ set(classes["Eval"]))
        what = f"in only one of them: {', '.join(odd[:10])}" if odd else "in another order"
        raise DataError(
            f"{datasets['Train'].source} and {datasets['Eval'].source} have "
            f"different classes, {what}; `classes` of both data sets settles it"
        )
    update = {
        name: part.model_copy(update={"dataset": part.dataset.with_classes(classes[name])})
        for name, part in parts.items()
        if part and name in classes
    }
    return config.model_copy(update={"DataLoader": loaders.model_copy(update=update)})


def label_names(config: Config) -> list[str]:
    """Return the names of a configuration's classes, in the order of their labels.

    They are those of the label list `Infer.PostProcess.class_id_map_file`; without one, those that
    a data set knows, such as the folders of an `ImageFolder`; without either, the labels
    themselves.

    Raises:
        DataError: the label list or the folder is wrong, or has another number of classes.
    """
    class_num = config.Arch.class_num
    names_file = config.Infer and config.Infer.PostProcess.class_id_map_file
    if names_file:
        return class_names(names_file, class_num, BY_DATA)
    for data in (config.DataLoader.Train, config.DataLoader.Eval):
        names = data.dataset.found_classes() if data else None
        if data and names:
            if len(names) != class_num:
                raise DataError(
                    f"{data.dataset.source}: {len(names)} classes for Arch.class_num {class_num}"
                )
            return names
    return class_names(None, class_num)


def trained_label_names(config: Config) -> list[str]:
    """Return `label_names` for weights that are used as they are, which fixes the names.

    Raises:
        DataError: as `label_names`; or the weights are of a run whose classes have other names.
    """
    names = label_names(config)
    weights = config.Global.checkpoints or config.Global.pretrained_model
    if weights in (None, "auto"):
        return names
    run = run_config(Path(str(weights)).expanduser())
    known = run.with_name(LABEL_LIST)
    if run.is_file() and known.is_file():
        difference = different_names(names, read_label_names(known))
        if difference:
            given = config.Infer and config.Infer.PostProcess.class_id_map_file
            raise DataError(
                f"{given or 'the data set'}: {difference} in {known}, by which these weights were "
                "trained; if the classes are the same by other names, "
                f"-o Infer.PostProcess.class_id_map_file={known} says so"
            )
    return names
