"""Losses: each class is its own option list and its own implementation.

Importing this package registers all losses of ppcls.
"""

import sys

from ppcls.registry import import_modules

import_modules(sys.modules[__name__])
