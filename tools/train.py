"""`ppcls train`, from a checkout: python tools/train.py -c CONFIG [-o KEY=VALUE ...]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppcls.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
