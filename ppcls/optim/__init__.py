"""Optimizers and learning rate schedules: each class is its own options and implementation.

Importing this package registers those of ppcls.
"""

import sys

from ppcls.registry import import_modules

import_modules(sys.modules[__name__])
