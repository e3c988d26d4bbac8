"""Make model files for the tests: with the layout of published files, and our own words and numbers."""

import numpy as np

# ---- YOLOv5 and YOLOv7 yaml ---------------------------------------------------------------------------------------


def example(n_layers, per_layer, first=4.0):
    """Return anchors that grow: (A, 2) float32 for each layer."""
    sides = first * 1.31 ** np.arange(n_layers * per_layer)
    anchors = np.stack([np.round(sides), np.round(sides * 1.2) + 1], axis=1).astype(np.float32)
    return [anchors[i * per_layer : (i + 1) * per_layer] for i in range(n_layers)]


def number(side):
    return f"{side:g}"


def rows(layers):
    """Return the numbers of each layer as a flat list."""
    return [[number(side) for pair in layer for side in pair] for layer in layers]


def _pairs(row):
    return list(zip(row[::2], row[1::2]))


YAML_STYLES = {
    "rows": lambda layers: (
        "anchors:\n"
        + "".join(
            f"  - [{', '.join(','.join(p) for p in _pairs(row))}]  # P{i}/{2**i}\n" for i, row in enumerate(layers, 3)
        )
    ),
    "one line": lambda layers: f"anchors: [{', '.join('[' + ','.join(row) + ']' for row in layers)}]  # all\n",
    "many lines": lambda layers: (
        "anchors: [\n"
        + "".join(f"    [ {' ,  '.join(row)} ],  #\tP{i}  \n" for i, row in enumerate(layers, 3))
        + "  ]\n"
    ),
    "nested": lambda layers: (
        "anchors:\n" + "".join(f"- [{', '.join(f'[{w}, {h}]' for w, h in _pairs(row))}]\n" for row in layers)
    ),
    "blocks": lambda layers: (
        "anchors:   # by hand\n\n"
        + "".join("  -\n" + "".join(f"    - {side}   \n" for side in row) + "  # end of a layer\n" for row in layers)
    ),
    "nested blocks": lambda layers: (
        '"anchors":\n'
        + "".join("  - - " + "\n    - ".join(f"[{w}, {h}]" for w, h in _pairs(row)) + "\n" for row in layers)
    ),
    "number": lambda layers: f"anchors: {len(layers[0]) // 2}  # to be fitted\n",
}


def yolo_yaml(layers, style="rows", detect="Detect", head=True):
    taps = ", ".join(str(9 + 3 * i) for i in range(len(layers)))
    text = "# a detector of ours\n\n# sizes\nnc: 7  # kinds of things\ndepth_multiple: 0.5\nwidth_multiple: 0.25  \n"
    text += YAML_STYLES[style](rows(layers))
    text += "\n# trunk\nbackbone:\n  # [from, times, block, [options]]\n  [[-1, 1, Stem, [24, 6, 2]],  # 0-P1/2\n"
    text += "   [-1, 3, Body, [48]],\n  ]\n"
    if head:
        text += "\nhead: [\n  [-1, 1, Up, [None, 2, 'nearest']],\n  [[-1, 1], 1, Join, [1]],\n\n"
        text += f"  [[{taps}], 1, {detect}, [nc, anchors]],  # out\n]\n"
    return text


#: The published YOLOv5 model files, as far as their anchors differ: in layers and style.
YOLOV5 = {
    **{f"v5{size}": yolo_yaml(example(3, 3)) for size in "nsmlx"},
    **{f"v5{size}6": yolo_yaml(example(4, 3)) for size in "nsmlx"},
    "p2": yolo_yaml(example(4, 3), "number"),
    "p34": yolo_yaml(example(2, 3), "number"),
    "p6": yolo_yaml(example(4, 3), "number"),
    "p7": yolo_yaml(example(5, 3), "number"),
    "bifpn, fpn, panet": yolo_yaml(example(3, 3)[::-1]),
    "transformer, ghost": yolo_yaml(example(3, 3), "one line"),
    "v7": yolo_yaml(example(3, 3), detect="IDetect"),
    "v7-w6": yolo_yaml(example(4, 3), detect="IAuxDetect"),
    **{f"style {style}": yolo_yaml(example(3, 2), style) for style in YAML_STYLES},
}

# ---- darknet ------------------------------------------------------------------------------------------------------


def darknet_cfg(anchors, masks, classes=4, equals=" = ", between=",  ", kind="yolo"):
    """Return a network with a [yolo] for each mask, or with one [region] if there are no masks."""
    listed = between.join(",".join(number(side) for side in pair) for pair in anchors)
    text = "[net]\n# for testing\nbatch=1\nwidth=416\nheight=416\n\n"
    for mask in masks or [range(len(anchors))]:
        text += f"[convolutional]\nsize=1\nfilters={(classes + 5) * len(mask)}\nactivation=linear\n\n"
        text += f"[{kind}]\n"
        if masks:
            text += f"mask{equals}{','.join(map(str, mask))}\n"
        text += f"anchors{equals}{listed}\n; of our own\nclasses={classes}\nnum{equals}{len(anchors)}\njitter=.3\n\n"
    return text


_NINE = np.concatenate(example(3, 3))
_SIX = np.concatenate(example(2, 3))
DARKNET = {
    "v3": darknet_cfg(_NINE, [[6, 7, 8], [3, 4, 5], [0, 1, 2]]),
    "v3-tiny": darknet_cfg(_SIX, [[3, 4, 5], [0, 1, 2]], equals="="),
    "v3-tiny, one shared": darknet_cfg(_SIX, [[3, 4, 5], [1, 2, 3]]),
    "v4": darknet_cfg(_NINE, [[0, 1, 2], [3, 4, 5], [6, 7, 8]], between=", "),
    "v4-tiny": darknet_cfg(_SIX, [[3, 4, 5], [1, 2, 3]], between=","),
    "v4-p6": darknet_cfg(np.concatenate(example(4, 4)), [range(i, i + 4) for i in (0, 4, 8, 12)]),
    "gaussian": darknet_cfg(_NINE, [[6, 7, 8], [3, 4, 5], [0, 1, 2]], kind="Gaussian_yolo"),
    "one": darknet_cfg(_SIX, [[0, 1, 2, 3, 4, 5]]),
    "v2": darknet_cfg(np.concatenate(example(1, 5)) / 32, [], kind="region", between=", "),
}

# ---- MMDetection, MMYOLO, PaddleDetection, JSON -------------------------------------------------------------------


def _tuples(layer):
    return "[" + ", ".join(f"({number(w)}, {number(h)})" for w, h in layer) + "]"


def mmdet_config(layers):
    listed = "[" + ",\n                        ".join(_tuples(layer) for layer in layers) + "]"
    return (
        "_base_ = './é.py'  # base\nimport os\nos.mkdir('was run')\nmodel = dict(\n    type='One',\n"
        "    bbox_head=dict(\n        anchor_generator=dict(\n            type='Some',\n"
        f"            base_sizes={listed},\n"
        "            strides=[32, 16, 8])))\n"
    )


def mmyolo_config(layers):
    listed = "".join(f"    {_tuples(layer)},  # P{i}/{2**i} größe\n" for i, layer in enumerate(layers, 3))
    return (
        f"_base_ = 'x.py'\n\nanchors = [\n{listed}]\nstrides = [8, 16, 32]\n"
        "model = dict(bbox_head=dict(prior_generator=dict(base_sizes=anchors, strides=strides)))\n"
    )


def paddle_yaml(layers, twice=False):
    """Return anchors and masks in a head, and if `twice` also in the reader, as in older files."""
    together = np.concatenate(layers)
    listed = "[" + ",\n            ".join(f"[{number(w)}, {number(h)}]" for w, h in together) + "]"
    ends = np.cumsum([len(layer) for layer in layers])
    masks = [list(range(end - len(layer), end)) for end, layer in zip(ends, layers)][::-1]
    reader = f"  - Targets: {{anchor_masks: {masks},\n            anchors: {listed}, num_max: 50}}\n" if twice else ""
    return (
        "architecture: One  # ours\nnum_classes: 4\n\nHead:\n"
        f"  anchor_masks: {masks}\n  anchors: {listed}\n  norm: bn\n\n"
        f"Rate:\n  schedulers:\n  - !Decay\n    max: 3\nReader:\n  steps:\n{reader}  - Shuffle: {{}}\n"
    )


def our_json(layers):
    listed = ",\n   ".join(str([[float(w), float(h)] for w, h in layer]) for layer in layers)
    return f'{{"about": "\\"anchors\\": [",\n "anchors" :\n  [{listed}] , "nc": 3 }}\n'


OTHERS = {
    "mmdet": ("c.py", mmdet_config(example(3, 3)[::-1])),
    "mmyolo": ("c.py", mmyolo_config(example(3, 3))),
    "paddle": ("c.yml", paddle_yaml(example(3, 3))),
    "paddle, with a reader": ("c.yml", paddle_yaml(example(2, 3), twice=True)),
    "json": ("c.json", our_json(example(3, 2))),
    "json, a list": ("c.json", "[[3, 4], [10, 13],\t[30.5, 29]]\n"),
    "json, flat": ("c.json", '{"anchors": [3, 4, 10, 13]}'),
    "yaml, a list": ("c.yaml", "- [3, 4]\n- [10,13]\n"),
}

ALL = {
    **{f"yolo {name}": ("m.yaml", text) for name, text in YOLOV5.items()},
    **{f"darknet {name}": ("m.cfg", text) for name, text in DARKNET.items()},
    **OTHERS,
}
