"""Record the facts that tests hold an architecture to, in tests/facts/architectures.json.

usage: python tools/record_facts.py NAME [--model MODULE:BUILDER]

NAME is an architecture with a card. Its facts are those of the original code, if `--model` says
what builds it there: a function that takes `class_num`, of a module that Python finds. Prints the
counts as the card has them.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from paddle import nn
from parity import facts_of

import ppcls

FACTS = Path(__file__).resolve().parents[1] / "tests" / "facts" / "architectures.json"


def build(name: str, original: str | None) -> nn.Layer:
    """Return the network of an architecture, built by the original code if it is named."""
    if original is None:
        return ppcls.create_model(name)
    module, _, builder = original.partition(":")
    return getattr(import_module(module), builder)(class_num=1000)


def write(name: str, facts: dict[str, object]) -> None:
    """Put the facts of an architecture among those recorded, one line each, sorted."""
    found = json.loads(FACTS.read_text()) | {name: facts}
    lines = [f'"{key}": {json.dumps(found[key], separators=(",", ":"))}' for key in sorted(found)]
    FACTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    """Record the facts of the architecture that the command line names."""
    parser = argparse.ArgumentParser(description="Record the facts of an architecture.")
    parser.add_argument("name", metavar="NAME", help="as `ppcls list` prints it")
    parser.add_argument("--model", metavar="MODULE:BUILDER", help="what builds the original")
    args = parser.parse_args()
    facts = facts_of(build(args.name, args.model), ppcls.model_card(args.name).input_size)
    write(args.name, facts)
    print(f"params={facts['trainable_params']:_},\nmacs={facts['macs']:_},")


if __name__ == "__main__":
    main()
