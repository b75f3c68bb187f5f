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
        # Python's 1 equals True.
        kind = isinstance(value, bool)
        if any(value == known and isinstance(known, bool) == kind for known in self.accepted):
            return None
        if not self.accepted:
            return f"{self.why}; leave it out"
        return f"expected {' or '.join(map(repr, self.accepted))}, not {value!r}: {self.why}"


_EVERY_IMAGE = "an evaluation reads every image once, in the order of the list"

_ONE_LOADER = "there is one loader"
_ALWAYS_WRITTEN = "an export always has `inference.yml`"
_NO_SUCH_LAYERS = "the architectures have no such layers"

IGNORED: dict[str, dict[str, Ignored]] = {
    "AMPOptions": {
        "use_pure_fp16": Ignored((False,), "`level: O2` does it"),
    },
    "ArchOptions": {
        "data_format": Ignored(("NCHW",), "the channels come first"),
        "drop_path_rate": Ignored((0,), _NO_SUCH_LAYERS),
        "drop_rate": Ignored((0,), "the option is `dropout`"),
        "infer_add_softmax": Ignored(
            (True, False),
            "`ppcls export --softmax` adds one, and `inference.yml` states whether there is one",
        ),
        "input_image_channel": Ignored((3,), "images always have three channels"),
        "is_rec": Ignored((False,), "there are no retrieval models"),
        "return_patterns": Ignored((None,), "only the models of a distillation return layers"),
        "return_stages": Ignored((None, False), "only the models of a distillation return layers"),
    },
    "Cyclic": {"scale_mode": Ignored(("cycle", "iterations", None), "it follows from `mode`")},
    "DecodeImage": {
        "to_rgb": Ignored((True,), "colour images are always RGB"),
        "to_np": Ignored((True, False), "images are always arrays"),
        "channel_first": Ignored((False,), "`ToCHWImage` puts the channels first"),
        "backend": Ignored((), "there is only one decoder (docs/images.md)"),
    },
    "DeployGlobal": {
        "ir_optim": Ignored((True,), "Paddle always optimises the graph"),
        "benchmark": Ignored((False,), "`enable_benchmark` prints the duration"),
        "enable_profile": Ignored((False,), "PaddleClas does not use it either"),
        "use_int8": Ignored((False,), "no backend computes in 8 bits"),
        "use_onnx": Ignored((False,), "`ppcls predict --backend onnxruntime` uses it"),
    },
    "DeployTopk": {
        "delimiter": Ignored((None, " "), "a blank follows the label in each line"),
    },
    "DeployPostProcess": {
        "SavePreLabel": Ignored(ANY, "PaddleClas's script does not save with it either"),
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
        "is_distributed": Ignored(ANY, "the launcher decides"),
        "total_images": Ignored(ANY, "the images of the list are counted"),
        "use_dali": Ignored((False,), _ONE_LOADER),
        "use_xpu": Ignored((False,), "the option is `device`"),
    },
    "GlobalOptions": {
        "eval_mode": Ignored(("classification",), "there are no retrieval models"),
        "export_for_fd": Ignored(ANY, _ALWAYS_WRITTEN),
        "export_with_pir": Ignored((True,), "`ppcls export --format pdmodel` writes the older"),
        "image_channel": Ignored((3,), "images always have three channels"),
        "log_format": Ignored(("sectioned", "flat"), "the log has one format"),
        "model_name": Ignored(ANY, "it is that of the architecture"),
        "total_images": Ignored(ANY, "the images of the list are counted"),
        "train_mode": Ignored((None,), "training does not proceed in stages"),
        "uniform_output_enabled": Ignored(ANY, _ALWAYS_WRITTEN),
        "use_dali": Ignored((False,), _ONE_LOADER),
        "use_fused_attn": Ignored((True, False), _NO_SUCH_LAYERS),
        "use_fused_linear": Ignored((True, False), _NO_SUCH_LAYERS),
        "use_multilabel": Ignored((True, False), "the loss and the data set decide"),
    },
    "ImageNetDataset": {
        "relabel": Ignored((False,), "labels are used as the list has them"),
    },
    "LoaderOptions": {
        "use_shared_memory": Ignored(ANY, "workers are threads, which share all memory"),
    },
    "MultiLabelThreshOutput": {
        "delimiter": Ignored((" ", None), "a label list has lines `label name`"),
        "topk": Ignored(ANY, "every class above its threshold counts"),
    },
    "NormalizeImage": {
        "channel_num": Ignored((3,), "`Global.in_channels` sets them"),
        "output_fp16": Ignored((False,), "`AMP` chooses the precision"),
    },
    "Optimizer": {
        "lazy_mode": Ignored((False,), "no gradient is sparse"),
        "multi_precision": Ignored((True, False), "AMP keeps float32 weights beside 16-bit ones"),
    },
    "PaddleClasTopk": {
        "delimiter": Ignored(ANY, "the names are listed"),
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
    "Schedule": {
        "last_epoch": Ignored((-1,), "a resumed run continues its schedule"),
        "verbose": Ignored((False,), "log lines have the learning rate"),
    },
    "Topk": {
        "delimiter": Ignored((None, " "), "a blank follows the label in each line"),
        "func": Ignored(("Topk",), "it follows from `topk`"),
        "key": Ignored((None,), "the deployed model has one output"),
        "model_name": Ignored(ANY, "`Arch.infer_model_name` names the deployed model"),
    },
    "TimmAutoAugment": {"img_size": Ignored(ANY, "translations are relative to the image")},
    "ValidReader": {"shuffle_seed": Ignored(ANY, _EVERY_IMAGE)},
}
"""By the class that reads the options, then by the option."""
