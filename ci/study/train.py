"""Train YOLOv5 once, from scratch, with one set of anchors; print a line of JSON with the results.

The peer is the package `yolov5`, used by its documented interface. Its own model file and hyperparameters are read
where they are installed, and a few values are changed:

- `width_multiple`: a narrower model, for a CPU;
- mosaic and scale are off, so the model sees the sizes to which the anchors were fitted;
- after warm-up the peer adds the gradients of several batches up to 64 images before each step. With few images this
  means too few steps, so warm-up lasts longer than the run, and the learning rate rises and falls within it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

WARMUP_EPOCHS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--anchors", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--width", type=float, required=True)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    sys.argv = sys.argv[:1]  # the peer reads it
    chosen = json.loads((options.folder / "anchors.json").read_text())[options.anchors]
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="study-"))
    try:
        rows = train(options, chosen["anchors"], scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = {
        "set": options.name,
        "anchors": options.anchors,
        "seed": options.seed,
        "map50": [round(float(row["metrics/mAP_0.5"]), 4) for row in rows],
        "map": [round(float(row["metrics/mAP_0.5:0.95"]), 4) for row in rows],
        "seconds": round(time.monotonic() - started, 1),
        "sizes": chosen["anchors"],
        **{key: chosen[key] for key in ("fitness", "bpr", "rows", "overwritten")},
    }
    print("\nRESULT " + json.dumps(result))


def train(options, anchors: list, scratch: Path) -> list[dict]:
    """Return the rows of the peer's results.csv, one per epoch."""
    settings = Path(tempfile.gettempdir()) / "anchorlib-study-settings"
    os.environ.update({key: str(settings) for key in ("YOLOV5_CONFIG_DIR", "YOLO_CONFIG_DIR")}, WANDB_MODE="disabled")
    import matplotlib
    import torch
    import yaml

    settings.mkdir(exist_ok=True)
    if not (settings / "Arial.ttf").exists():  # the peer would download it, but needs it only for pictures
        font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
        shutil.copy(font, settings / "Arial.ttf")
    torch.set_num_threads(1)
    import yolov5
    from yolov5 import train as peer

    installed = Path(yolov5.__file__).parent
    model = yaml.safe_load((installed / "models" / "yolov5n.yaml").read_text())
    model["nc"] = yaml.safe_load((options.folder / "data.yaml").read_text())["nc"]
    model["width_multiple"] = options.width
    model["anchors"] = [[side for anchor in anchors[i : i + 3] for side in anchor] for i in (0, 3, 6)]
    (hyp_file,) = installed.rglob("hyp.scratch-low.yaml")
    hyp = yaml.safe_load(hyp_file.read_text())
    hyp.update(mosaic=0.0, scale=0.0, lr0=options.lr, warmup_epochs=WARMUP_EPOCHS, warmup_bias_lr=0.0)
    (scratch / "model.yaml").write_text(yaml.safe_dump(model))
    (scratch / "hyp.yaml").write_text(yaml.safe_dump(hyp))
    peer.run(
        data=str(options.folder / "data.yaml"),
        cfg=str(scratch / "model.yaml"),
        hyp=str(scratch / "hyp.yaml"),
        weights="",
        noautoanchor=True,
        imgsz=options.size,
        epochs=options.epochs,
        batch_size=options.batch,
        seed=options.seed,
        optimizer="AdamW",
        device=options.device,
        cache="ram",
        workers=0,
        noplots=True,
        nosave=True,
        project=str(scratch),
        name="run",
        exist_ok=True,
    )
    with open(scratch / "run" / "results.csv", newline="") as file:
        return [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]


if __name__ == "__main__":
    main()
