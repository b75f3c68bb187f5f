"""Predict with an exported model: python deploy/python/predict_cls.py -c CONFIG [-o KEY=VALUE …].

It runs from the repository's root and from inside deploy/, with paths relative to where it runs.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppcls.cli.predict_cls import main

sys.exit(main())
