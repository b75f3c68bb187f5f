"""Options of PaddleClas that ppcls accepts and ignores, because they have no effect here."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["ANY", "IGNORED", "Ignored"]

ANY = "any"


class Ignored(NamedTuple):
    """The accepted values (`ANY`, or some; none makes the option an error), and the reason."""

    accepted: str | tuple[Any, ...]
    why: str

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value; None if it is accepted."""
        if self.accepted == ANY:
            return None
        if any(value == known and type(value) is type(known) for known in self.accepted):
            return None
        if not self.accepted:
            return f"{self.why}; leave it out"
        return f"expected {' or '.join(map(repr, self.accepted))}, not {value!r}: {self.why}"


_EVERY_IMAGE = "an evaluation reads every image once, in the order of the list"

IGNORED: dict[str, dict[str, Ignored]] = {
    "Cyclic": {"scale_mode": Ignored(("cycle", "iterations", None), "it follows from `mode`")},
    "DecodeImage": {
        "to_rgb": Ignored((True,), "colour images are always RGB"),
        "to_np": Ignored((True, False), "images are always arrays"),
        "channel_first": Ignored((False,), "`ToCHWImage` puts the channels first"),
        "backend": Ignored((), "there is only one decoder (docs/images.md)"),
    },
    "DeployGlobal": {
        "ir_optim": Ignored((True,), "Paddle always optimises the graph"),
        "enable_profile": Ignored((False,), "PaddleClas does not use it either"),
    },
    "DistributedEvalSampler": {
        "shuffle": Ignored((False,), _EVERY_IMAGE),
    },
    "FlatConfig": {
        "mode": Ignored(("train", "valid"), "the command decides"),
        "load_static_weights": Ignored(
            (False,),
            "weights of static graphs (a folder with a file for each parameter) are not read; name "
            "a .pdparams file in pretrained_model",
        ),
        "total_images": Ignored(ANY, "the images of the list are counted"),
    },
    "GlobalOptions": {
        "log_format": Ignored(("sectioned", "flat"), "the log has one format"),
        "total_images": Ignored(ANY, "the images of the list are counted"),
    },
    "LoaderOptions": {
        "use_shared_memory": Ignored(ANY, "workers are threads, which share all memory"),
    },
    "NormalizeImage": {
        "channel_num": Ignored((3,), "`Global.in_channels` sets them"),
        "output_fp16": Ignored((False,), "`AMP` chooses the precision"),
    },
    "PKSampler": {"shuffle": Ignored((True,), "every epoch is drawn anew")},
    "Pad": {
        "backend": Ignored(("cv2", "pil"), "every backend pads alike"),
        "padding_mode": Ignored(("constant",), "the border has the colour `fill`"),
    },
    "ProfileOptions": {"tracer_option": Ignored(ANY, "Paddle 3 has one tracer")},
    "RandAugmentV2": {
        "progress_magnitude": Ignored((), "training does not proceed in stages; set magnitude"),
    },
    "ResizeImage": {"return_numpy": Ignored((True,), "images are always arrays")},
    "TimmAutoAugment": {"img_size": Ignored(ANY, "translations are relative to the image")},
    "ValidReader": {"shuffle_seed": Ignored(ANY, _EVERY_IMAGE)},
}
"""By the class that reads the options, then by the option."""
