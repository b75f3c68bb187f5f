"""Write seeds for the fuzz targets: small images, and the inference.yml of exported folders.

    python deploy/cpp/fuzz/make_seeds.py SEEDS PATH…

Images of at most 12 KB below the paths go to SEEDS/image, and each `inference.yml`, with three
class names, to SEEDS/bundle.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 12_000
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".mpo", ".bmp", ".gif"}
CLASSES = 3


def short_spec(text: str) -> str:
    """Return an inference.yml with few class names, whose only file exists beside every seed."""
    spec: dict[str, Any] = yaml.safe_load(text)
    for entry in spec["PostProcess"].values():
        entry["label_list"] = entry["label_list"][:CLASSES]
    spec["Output"]["classes"] = CLASSES
    spec["files"] = {"inference.yml": "0" * 64}
    for key in ("card", "parity"):
        spec.pop(key, None)
    return yaml.safe_dump(spec, sort_keys=False)


def main() -> int:
    """Write the seeds and return the exit status."""
    if len(sys.argv) < 3:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    seeds = Path(sys.argv[1])
    for name in ("image", "bundle"):
        (seeds / name).mkdir(parents=True, exist_ok=True)
    for folder in sys.argv[2:]:
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.stat().st_size <= MAX_BYTES:
                data = path.read_bytes()
                (seeds / "image" / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            elif path.name == "inference.yml":
                spec = short_spec(path.read_text())
                name = hashlib.sha256(spec.encode()).hexdigest()[:16]
                (seeds / "bundle" / name).write_text(spec)
    return 0


if __name__ == "__main__":
    sys.exit(main())
