"""`python -m ppcls`."""

import sys

from ppcls.cli import main

sys.exit(main())
