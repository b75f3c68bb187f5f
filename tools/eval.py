"""`ppcls eval`, from a checkout: python tools/eval.py -c CONFIG [-o KEY=VALUE ...]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppcls.cli import main

sys.exit(main(["eval", *sys.argv[1:]]))
