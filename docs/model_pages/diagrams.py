"""What each family is made of, drawn."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from drawing import Box, Drawing

__all__ = ["DIAGRAMS"]


def hardnet() -> Drawing:
    """A harmonic dense block of eight layers."""
    d = Drawing(760, 340)
    depth = 8
    links = {k: [k - 2**n for n in range(4) if k % 2**n == 0] for k in range(1, depth + 1)}
    boxes = []
    for k in range(depth + 1):
        extra = len(links[k]) - 1 if k else 0
        name = "input" if k == 0 else f"{k}"
        kind = "data" if k == 0 else "conv"
        boxes.append(d.box(60 + 80 * k, 170, name, kind, 52, 34 + 14 * extra))
    for k, inputs in links.items():
        for i in inputs:
            if k - i == 1:
                d.arrow(boxes[i].right, boxes[k].left)
            else:
                shift = 4 * (k - i)
                (x0, y0), (x1, y1) = boxes[i].top, boxes[k].top
                d.arc((x0 + 8, y0), (x1 - 14 + shift / 2, y1), 22 + 13 * (k - i))
    join = d.box(400, 280, "concat", "join", 640, 30)
    for k in range(1, depth + 1):
        if k % 2 == 1 or k == depth:
            d.arrow(boxes[k].bottom, (boxes[k].x, join.y - 15))
    d.arrow(join.bottom, (400, 325))
    d.text(380, 24, "layer k reads k − 1, k − 2, k − 4, k − 8 … where that power of two divides k")
    d.text(220, 246, "taller: more channels", 11)
    return d


def hrnet() -> Drawing:
    """The branches and their exchanges."""
    d = Drawing(760, 380)
    columns = (150, 290, 430, 570)
    rows = (90, 160, 230, 300)
    d.text(40, 94, "stem", 12)
    for y, stride in zip(rows, (4, 8, 16, 32), strict=True):
        d.text(22, y + (22 if y == 90 else 4), f"1/{stride}", 11)
    stages: list[list[Box]] = []
    for i, x in enumerate(columns):
        d.text(x, 30, f"stage {i + 1}", 13)
        d.text(x, 48, f"{'bottlenecks' if i == 0 else f'{(1, 4, 3)[i - 1]} × module'}", 11)
        widths = ["256"] if i == 0 else ["W", "2W", "4W", "8W"][: i + 1]
        stages.append(
            [d.box(x, rows[j], text, "conv", 78 - 10 * j, 40) for j, text in enumerate(widths)]
        )
    d.arrow((58, 90), stages[0][0].left)
    for before, after in pairwise(stages):
        for j, box in enumerate(after):
            for i, source in enumerate(before):
                new = j == len(after) - 1
                if (new and i == len(before) - 1) or not new:
                    d.arrow(source.right, box.left, dashed=i != j)
    head = d.box(690, 195, "pool\nlinear", "head", 70, 50)
    for i, (upper, lower) in enumerate(pairwise(stages[3])):
        d.arrow(upper.bottom, lower.top)
        if i == 0:
            d.text(upper.x + 12, 128, "widen, halve, add", 11, "start")
    d.arrow(stages[3][3].right, (690, 300), head.bottom)
    d.text(380, 360, "dashed: brought to the other branch's resolution and channels, then added")
    return d


def densenet() -> Drawing:
    """A dense block of four layers, and the transition."""
    d = Drawing(760, 270)
    first = d.box(60, 150, "input", "data", 70)
    layers = [d.box(180 + 120 * i, 150, "1×1 → 4k\n3×3 → k", "conv", 86, 46) for i in range(4)]
    join = d.box(650, 150, "concat", "join", 64, 40)
    nodes = [first, *layers, join]
    for i, source in enumerate(nodes[:-1]):
        d.arrow(source.right, nodes[i + 1].left)
        for j in range(i + 2, len(nodes)):
            (x0, y0), (x1, y1) = source.top, nodes[j].top
            d.arc((x0 + 10, y0), (x1 - 24 + 10 * i, y1), 12 + 20 * (j - i))
    below = d.box(650, 225, "transition: 1×1, ÷2, mean 2×2", "pool", 200, 34)
    d.arrow(join.bottom, below.top)
    d.text(300, 230, "every layer reads all maps before it and adds k channels (the growth)")
    return d


def dpn() -> Drawing:
    """A dual path block."""
    d = Drawing(760, 330)
    d.text(170, 28, "residual path", 13)
    d.text(590, 28, "dense path", 13)
    res = d.box(170, 60, "residual", "data", 100, 32)
    dense = d.box(590, 60, "dense", "data", 140, 32)
    a = d.box(380, 105, "1×1", "conv", 90, 30)
    b = d.box(380, 155, "3×3, groups", "conv", 100, 30)
    c = d.box(380, 205, "1×1", "conv", 90, 30)
    d.arrow(res.right, (350, 60), (350, 90))
    d.arrow(dense.left, (410, 60), (410, 90))
    d.arrow(a.bottom, b.top)
    d.arrow(b.bottom, c.top)
    plus = d.dot(170, 255, "+")
    join = d.box(590, 255, "concat", "join", 140, 32)
    d.arrow((360, 220), (360, 255), plus.right)
    d.arrow((400, 220), (400, 255), join.left)
    d.text(270, 247, "refinement", 11)
    d.text(455, 247, "new channels", 11)
    d.arrow(res.bottom, plus.top)
    d.arrow(dense.bottom, join.top)
    d.arrow(plus.bottom, (170, 305))
    d.arrow(join.bottom, (590, 305))
    d.text(380, 312, "both paths go on as one tensor")
    return d


def alexnet() -> Drawing:
    """The whole network."""
    d = Drawing(760, 240)
    row = [
        ("11×11 / 4\n64", "conv"),
        ("max\n3×3 / 2", "pool"),
        ("5×5\n192", "conv"),
        ("max\n3×3 / 2", "pool"),
        ("3×3\n384", "conv"),
        ("3×3\n256", "conv"),
        ("3×3\n256", "conv"),
        ("max\n3×3 / 2", "pool"),
    ]
    boxes = [d.box(60 + 91 * i, 60, text, kind, 72, 46) for i, (text, kind) in enumerate(row)]
    for before, after in pairwise(boxes):
        d.arrow(before.right, after.left)
    tail = [("flatten\n256·6·6", "data"), ("linear\n4096", "head"), ("linear\n4096", "head")]
    tail.append(("linear\nclasses", "head"))
    heads = [d.box(697 - 150 * i, 165, text, kind, 92, 46) for i, (text, kind) in enumerate(tail)]
    d.arrow(boxes[-1].bottom, heads[0].top)
    for i, (before, after) in enumerate(pairwise(heads)):
        d.arrow(before.left, after.right)
        if i < 2:
            d.text((before.x + after.x) / 2, 153, "drop", 11)
    d.text(380, 222, "ReLU after every convolution and hidden layer; half of the inputs dropped")
    return d


def squeezenet() -> Drawing:
    """A fire module."""
    d = Drawing(760, 210)
    first = d.box(70, 100, "input", "data", 80)
    squeeze = d.box(220, 100, "squeeze\n1×1, s", "conv", 100, 46)
    one = d.box(410, 55, "expand 1×1, 4s", "conv", 130, 38)
    three = d.box(410, 145, "expand 3×3, 4s", "conv", 130, 38)
    join = d.box(590, 100, "concat, 8s", "join", 100, 46)
    d.arrow(first.right, squeeze.left)
    for expand in (one, three):
        d.arrow((270, 100), (310, 100), (310, expand.y), expand.left)
        d.arrow(expand.right, (510, expand.y), (510, 100), join.left)
    d.arrow(join.right, (720, 100))
    d.text(380, 195, "few channels reach the 3×3 convolution; ReLU after each of the three")
    return d


def darknet() -> Drawing:
    """A residual block, and how a stage begins."""
    d = Drawing(760, 220)
    down = d.box(90, 110, "3×3 / 2, c\nopens the stage", "pool", 120, 46)
    one = d.box(290, 110, "1×1, c/2", "conv", 96, 40)
    three = d.box(450, 110, "3×3, c", "conv", 96, 40)
    plus = d.dot(590, 110, "+")
    d.arrow(down.right, one.left)
    d.arrow(one.right, three.left)
    d.arrow(three.right, plus.left)
    d.arrow((200, 110), (200, 45), (590, 45), plus.top)
    d.arrow(plus.right, (720, 110))
    d.text(440, 172, "the residual block: 1, 2, 8, 8 and 4 of them in the five stages")
    d.text(440, 192, "batch normalisation and ReLU after every convolution")
    return d


def senet() -> Drawing:
    """The bottleneck with its gate."""
    d = Drawing(760, 300)
    row = [("1×1", 90), ("3×3, 64 groups", 120), ("1×1", 90)]
    xs = (150, 285, 420)
    convs = [d.box(x, 120, text, "conv", w, 38) for x, (text, w) in zip(xs, row, strict=True)]
    d.arrow((30, 120), convs[0].left)
    d.arrow(convs[0].right, convs[1].left)
    d.arrow(convs[1].right, convs[2].left)
    product = d.dot(590, 120, "×")
    plus = d.dot(670, 120, "+")
    d.arrow(convs[2].right, product.left)
    d.arrow(product.right, plus.left)
    d.arrow(plus.right, (742, 120))
    d.text(716, 110, "ReLU", 11)
    gates = [("mean of\neach channel", 100), ("linear ÷16\nReLU", 90), ("linear\nsigmoid", 80)]
    gate_xs = (300, 425, 540)
    gate = [d.box(x, 215, text, "gate", w, 46) for x, (text, w) in zip(gate_xs, gates, strict=True)]
    d.arrow((485, 120), (485, 172), (300, 172), gate[0].top)
    d.arrow(gate[0].right, gate[1].left)
    d.arrow(gate[1].right, gate[2].left)
    d.arrow(gate[2].right, (590, 215), product.bottom)
    short = d.box(350, 45, "mean 2×2 if the block halves, 1×1 if channels change", "pool", 400)
    d.arrow((60, 120), (60, 45), short.left)
    d.arrow(short.right, (670, 45), plus.top)
    d.text(400, 275, "each channel is scaled by what the whole image says of it")
    return d


DIAGRAMS: dict[str, Callable[[], Drawing]] = {
    "HarDNet": hardnet,
    "HRNet": hrnet,
    "DenseNet": densenet,
    "DPN": dpn,
    "AlexNet": alexnet,
    "SqueezeNet": squeezenet,
    "DarkNet": darknet,
    "SENet": senet,
}
