"""The UCI handwritten digits as image files: real data that needs no download."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ppcls.data.lists import split_folder
from ppcls.errors import MissingDependencyError

__all__ = ["write_digits"]


def write_digits(folder: str | Path, overwrite: bool = False) -> dict[str, int]:
    """Write scikit-learn's copy of the digits as 8x8 gray PNG files, one folder a class.

    The data set is "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI
    Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0): 1797 digits written
    by 13 people. Files are `<digit>/<index>.png`; a fifth of each class is held out. Writing the
    same folder again changes nothing.

    Returns:
        As `split_folder`: the number of training and held-out images, and of classes.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
        DataError: the folder holds other lists.
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
    for digit in range(10):
        (root / str(digit)).mkdir(parents=True, exist_ok=True)
    for index, (image, digit) in enumerate(zip(images, digits.target, strict=True)):
        _, encoded = cv2.imencode(".png", image)
        (root / str(digit) / f"{index:04d}.png").write_bytes(encoded.tobytes())
    return split_folder(root, val=0.2, overwrite=overwrite)
