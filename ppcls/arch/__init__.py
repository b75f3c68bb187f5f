"""Model architectures: one file a family. Importing this package needs PaddlePaddle."""

from ppcls.errors import require_paddle

require_paddle()

# Importing a family registers it.
from ppcls.arch import (  # noqa: E402, F401
    alexnet,
    darknet,
    densenet,
    dpn,
    hardnet,
    hrnet,
    senet,
    squeezenet,
)
from ppcls.arch.registry import create_model, register_model  # noqa: E402

__all__ = ["create_model", "register_model"]
