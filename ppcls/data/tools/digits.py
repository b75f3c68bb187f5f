"""The UCI handwritten digits as image files: real data without a download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from ppcls.data.folders import Split, split_folder
from ppcls.data.lists import LABEL_LIST, TRAIN_LIST, VAL_LIST
from ppcls.errors import DataError, MissingDependencyError

__all__ = ["write_digits"]


def write_digits(folder: str | Path, overwrite: bool = False) -> Split:
    """Write scikit-learn's copy of the digits as 8x8 gray PNG files, one folder a class.

    The data set is "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI
    Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0): 1797 digits written
    by 13 people. Files are `<digit>/<index>.png`; a fifth of each class is the validation set.
    Writing the same folder again changes nothing.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
        DataError: the folder holds other files or lists.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise MissingDependencyError(
            "the digits come with scikit-learn, which is not installed: pip install 'ppcls[digits]'"
        ) from None
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    root = Path(folder)
    files = {
        root / str(digit) / f"{index:04d}.png": cv2.imencode(".png", image)[1].tobytes()
        for index, (image, digit) in enumerate(zip(images, digits.target, strict=True))
    }
    _check_free(root, files)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return split_folder(root, overwrite=overwrite)


def _check_free(root: Path, files: Mapping[Path, bytes]) -> None:
    """Refuse a folder that holds anything but an earlier copy of the same files."""
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: this is a file; name a folder")
    lists = {root / name for name in (TRAIN_LIST, VAL_LIST, LABEL_LIST)}
    for path in root.rglob("*"):
        if path.is_file() and path not in lists and path.read_bytes() != files.get(path):
            raise DataError(f"{path}: not a file of the digits; name a new folder for them")
