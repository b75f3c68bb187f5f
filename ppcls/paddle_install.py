"""Tell which build of PaddlePaddle to install where there is none."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ppcls.errors import MissingDependencyError

__all__ = ["naming_missing_paddle", "require_paddle"]


@contextmanager
def naming_missing_paddle() -> Iterator[None]:
    """Import modules that need PaddlePaddle; if it is absent, tell which build to install.

    Log lines of Paddle's library below errors are silenced, unless `GLOG_minloglevel` or `GLOG_v`
    is in the environment. The library reads it when it is first imported.

    Raises:
        MissingDependencyError: PaddlePaddle is not installed.
    """
    if "GLOG_v" not in os.environ:
        os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        with warnings.catch_warnings():
            # Paddle warns on first import that extensions compile slowly; ppcls has none.
            warnings.filterwarnings("ignore", message="No ccache found")
            yield
    except ModuleNotFoundError as error:
        if error.name != "paddle":
            raise
        raise MissingDependencyError(
            "PaddlePaddle is not installed. CPU: pip install 'ppcls[cpu]'. NVIDIA GPU: pip install "
            "'paddlepaddle-gpu>=3' -i https://www.paddlepaddle.org.cn/packages/stable/cu126/ "
            "(Paddle's own index, here for CUDA 12.6; PyPI's paddlepaddle-gpu ends at 2.6.2)"
        ) from None


def require_paddle() -> None:
    """Raise `MissingDependencyError` with the install command if PaddlePaddle is absent."""
    with naming_missing_paddle():
        import paddle  # noqa: F401
