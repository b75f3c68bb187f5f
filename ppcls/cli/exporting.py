"""`ppcls export`."""

from __future__ import annotations

import argparse

from ppcls.cli.parsing import Commands, add_config_options, config_of


def _export(args: argparse.Namespace) -> int:
    config = config_of(args)
    from ppcls.exporter.static_graph import export

    result = export(config, allow_random=args.allow_random)
    parity = result.spec.parity
    count = parity.images or parity.random_images
    of = f"images of {parity.source}" if parity.images else "random images"
    print(f"exported to {result.folder}")
    print(
        f"the same logits as the model on {count} {of}: largest difference "
        f"{parity.max_difference:.1e} of their standard deviation"
    )
    return 0


def add_commands(commands: Commands) -> None:
    """Add these commands to the command line."""
    export = commands.add(
        "export",
        _export,
        "make an inference model of trained weights, and prove it equal",
        """
        ppcls export -c output/digits/HarDNet39_ds/config.yaml \\
            -o Global.pretrained_model=output/digits/HarDNet39_ds/best_model \\
            -o Global.save_inference_dir=output/digits/inference
        """,
    )
    add_config_options(export, weights=True, data=True)
