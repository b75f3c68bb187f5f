"""Metrics: each class is its own option list and its own computation.

Importing this package registers all metrics of ppcls.
"""

import sys

from ppcls.registry import import_modules

import_modules(sys.modules[__name__])
