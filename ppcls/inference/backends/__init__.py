"""Inference backends, one file each, and their selection."""

import sys

from ppcls.inference.backends.base import (
    BACKENDS,
    Backend,
    Capability,
    EngineBackend,
    register_backend,
)
from ppcls.inference.backends.selection import (
    Opened,
    backend_options,
    choose,
    find_backend,
    open_backend,
    usable,
)
from ppcls.registry import import_modules

__all__ = [
    "BACKENDS",
    "Backend",
    "Capability",
    "EngineBackend",
    "Opened",
    "backend_options",
    "choose",
    "find_backend",
    "open_backend",
    "register_backend",
    "usable",
]

import_modules(sys.modules[__name__])
