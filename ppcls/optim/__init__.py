"""Optimizers and learning rate schedules: each class declares its options and implements them.

Importing this package registers those of ppcls.
"""

import sys

from ppcls.registry import import_modules

import_modules(sys.modules[__name__])
