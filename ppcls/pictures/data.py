"""Plots of a data set: its classes, and its images as training sees them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ppcls.config import Config
from ppcls.config.class_names import label_names
from ppcls.data import image
from ppcls.data.lists import Label
from ppcls.data.transforms.mix import Mixing
from ppcls.data.transforms.pipeline import Pipeline
from ppcls.errors import ConfigError, DataError
from ppcls.paddle_install import require_paddle
from ppcls.pictures.figures import name_style, save_figure, shorten
from ppcls.pictures.tiles import Tile, draw_tiles, tile_grid

__all__ = ["class_counts_picture", "sample_rows", "show_samples"]


def class_counts_picture(
    parts: Mapping[str, Sequence[int]],
    names: Sequence[str],
    examples: Sequence[tuple[str, Label]],
    picture: str | Path,
) -> None:
    """Plot the number of images of each class in each part of a data set, and some images.

    Args:
        parts: number of images of each class, by the name of the part.
        names: class names.
        examples: files and labels of the images to draw.
        picture: the .png file to write.
    """
    from matplotlib.figure import Figure

    columns, few = 8, len(names) <= 40
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(12, 3.6 + 1.75 * rows), layout="constrained")
    heights = [3.6, 1.75 * rows] if rows else [3.6]
    panels = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axes = panels[0].subplots()
    for i, (part, counts) in enumerate(parts.items()):
        if few:
            at = np.arange(len(names)) + 0.8 * (i - (len(parts) - 1) / 2) / len(parts)
            axes.bar(at, counts, 0.8 / len(parts), label=part)
        else:
            axes.plot(sorted(counts, reverse=True), drawstyle="steps-mid", label=part)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("images")
    axes.set_title("images of each class" + ("" if few else ", the largest first"))
    if few:
        long = max(map(len, names)) > 6 or len(names) > 20
        axes.set_xticks(
            range(len(names)),
            [shorten(name) for name in names],
            rotation=90 if long else 0,
            **name_style(),
        )
    axes.legend()
    axes.grid(axis="y", alpha=0.3)
    tiles = []
    for path, label in examples:
        pixels = image.read_to_show(path)
        own = [label] if isinstance(label, int) else [i for i, flag in enumerate(label) if flag]
        caption = f"{', '.join(names[i] for i in own)}\n{pixels.shape[1]}x{pixels.shape[0]}"
        tiles.append(Tile(pixels, shorten(caption, 40)))
    if tiles:
        draw_tiles(panels[1], tiles, columns)
    save_figure(figure, picture)


def show_samples(
    config: Config, picture: str | Path, *, count: int = 8, epoch: int = 1, epochs: int = 4
) -> None:
    """Draw the result of `sample_rows` into a .png file.

    Raises:
        ConfigError: the .png file is an image of the data set; and as in `sample_rows`.
        DataError, MissingDependencyError: as in `sample_rows`.
    """
    train = config.DataLoader.Train
    if train and Path(picture).exists():
        images, _ = train.dataset.scan(config.Arch.class_num)
        if any(os.path.samefile(picture, image.path) for image in images):
            raise ConfigError(f"{picture} is an image of the data set; name another file")
    columns, rows = sample_rows(config, count=count, epoch=epoch, epochs=epochs)
    tiles = [tile for row in rows for tile in row]
    tile_grid(tiles, picture, len(columns), columns)


def sample_rows(
    config: Config, *, count: int = 8, epoch: int = 1, epochs: int = 4
) -> tuple[list[str], list[list[Tile]]]:
    """Return transformed samples of `DataLoader.Train` as column titles and rows.

    A row begins with the original image and its label. Then follow its versions in `epochs` epochs,
    exactly those of a training run with the same seed. If `batch_transform_ops` are set (which
    needs Paddle), two versions mixed with other rows follow.

    Args:
        config: the configuration.
        count: number of samples, spread evenly over the data set.
        epoch: the first epoch to show.
        epochs: number of epochs to show.

    Raises:
        ConfigError: the configuration has no `DataLoader.Train`.
        DataError: a list, a label or an image is wrong.
        MissingDependencyError: mixing is set, and Paddle is not installed.
    """
    options = config.DataLoader.Train
    if options is None:
        raise ConfigError(
            "`ppcls data show` needs the section DataLoader.Train, which this configuration lacks"
        )
    names = [shorten(name, 20) for name in label_names(config)]
    seed, mixing = config.Global.seed, options.dataset.batch_transform_ops
    pipeline = config.pipeline("Train")
    dataset = options.dataset.images(options.dataset.read(len(names)), pipeline, seed)
    indices = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)).tolist()
    shown = range(epoch, epoch + epochs)
    versions = {e: [dataset.load(i, e) for i in indices] for e in shown}

    columns = ["as it is read", *(f"epoch {e}" for e in shown)]
    rows = []
    for row, index in enumerate(indices):
        sample = dataset.samples[index]
        caption = _caption(_shares(sample.label, len(names)), names)
        original = Tile(image.read_to_show(sample.path), caption)
        seen = [pipeline.to_pixels(pipeline.normalize(versions[e][row][None]))[0] for e in shown]
        rows.append([original, *(Tile(pixels, "") for pixels in seen)])
    for e in shown[:2] if mixing else ():
        columns.append(f"epoch {e}, mixed")
        targets = np.stack([_shares(dataset.samples[i].label, len(names)) for i in indices])
        mixed = _mix(pipeline, versions[e], targets, mixing, (seed, e, 0))
        for tiles, pixels, shares in zip(rows, *mixed, strict=True):
            tiles.append(Tile(pixels, _caption(shares, names)))
    return columns, rows


def _shares(label: Label, class_num: int) -> np.ndarray:
    """Return a label as float32 (classes,)."""
    if isinstance(label, int):
        return np.eye(1, class_num, label, dtype=np.float32)[0]
    return np.array(label, np.float32)


def _caption(shares: np.ndarray, names: Sequence[str]) -> str:
    order = [i for i in np.argsort(-shares, kind="stable") if shares[i] >= 0.005]
    if all(shares[i] > 0.995 for i in order):
        return ", ".join(names[i] for i in order)
    return "\n".join(f"{shares[i]:.0%} {names[i]}" for i in order[:3])


def _mix(
    pipeline: Pipeline,
    images: Sequence[np.ndarray],
    targets: np.ndarray,
    mixing: Sequence[Mixing],
    entropy: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mixed batch as uint8 images, and the mixed targets."""
    require_paddle()
    import paddle

    if len({each.shape for each in images}) > 1:
        raise DataError(
            "images of different sizes cannot be mixed; end the image operations with a fixed size "
            "(CropImage, or ResizeImage with size)"
        )
    batch = paddle.to_tensor(pipeline.normalize(np.stack(images)))
    labels = paddle.to_tensor(targets)
    for i, mix in enumerate(mixing):
        batch, labels = mix(batch, labels, np.random.default_rng((*entropy, i)))
    return pipeline.to_pixels(batch.numpy()), labels.numpy()
