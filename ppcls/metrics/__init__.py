"""Metrics: each class declares its options and computes its value.

Importing this package registers all metrics of ppcls.
"""

import sys

from ppcls.registry import import_modules

import_modules(sys.modules[__name__])
