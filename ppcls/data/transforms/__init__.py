"""Image transforms: each class declares its options and implements them.

Importing this package registers all transforms of ppcls.
"""

import sys

from ppcls.registry import import_modules

import_modules(sys.modules[__name__])
