"""`ppcls infer`, from a checkout: python tools/infer.py -c CONFIG [-o KEY=VALUE ...]."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppcls.cli import main

sys.exit(main(["infer", *sys.argv[1:]]))
