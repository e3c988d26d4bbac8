"""Make models like those of the YOLO forks, as small as possible, and their checkpoints.

python tests/helpers/checkpoint_models.py FOLDER    writes the recordings of the installed frameworks
"""

import copy
import datetime
import pathlib
import pickle
import sys

COCO = [
    [[10, 13], [16, 30], [33, 23]],
    [[30, 61], [62, 45], [59, 119]],
    [[116, 90], [156, 198], [373, 326]],
]
STRIDES = [8, 16, 32]


def classes(framework):
    """Return Model, Detect and IDetect of torch.nn or oneflow.nn, and register them for pickle."""
    nn = framework.nn

    class Detect(nn.Module):
        stride = None  # set on the object once the model is known

        def __init__(self, anchors=COCO, strides=STRIDES):
            super().__init__()
            pixels = framework.tensor(anchors).float()
            self.stride = framework.tensor(strides).float()
            self.register_buffer("anchors", pixels / self.stride.reshape(-1, 1, 1))
            self.m = nn.ModuleList([nn.Conv2d(1, 1, 1) for _ in anchors])
            self.anchor_grid = [framework.zeros(1)] * len(anchors)

    class IDetect(Detect):
        def __init__(self, anchors=COCO, strides=STRIDES):
            super().__init__(anchors, strides)
            del self.anchor_grid
            pixels = framework.tensor(anchors).float()
            self.register_buffer("anchor_grid", pixels.reshape(len(anchors), 1, -1, 1, 1, 2))

    class Model(nn.Module):
        def __init__(self, head=Detect, **options):
            super().__init__()
            self.yaml = {"nc": 1, "anchors": [[1, 2, 3, 4]]}
            self.model = nn.Sequential(nn.Conv2d(1, 1, 1), head(**options))
            self.names = ["thing"]

    for cls in (Detect, IDetect, Model):
        cls.__module__, cls.__qualname__ = "checkpoint_models", cls.__name__
        globals()[cls.__name__] = cls
    return Model, Detect, IDetect


#: The recorded checkpoints name this module as `checkpoint_models`, and pickle looks it up by that name.
sys.modules.setdefault("checkpoint_models", sys.modules[__name__])


def training_checkpoint(framework):
    """Return the checkpoint of a training run: half-precision weights, a different average of them, and options."""
    model = classes(framework)[0]()
    ema = copy.deepcopy(model)
    for parameter in (model.model[-1].anchors, model.model[0].weight):
        parameter.data.mul_(2) if framework.__name__ == "torch" else parameter.data.mul_(framework.tensor(2.0))
    return {
        "epoch": 3,
        "model": model.half(),
        "ema": ema.half(),
        "updates": 12,
        "optimizer": {"state": {0: {"momentum_buffer": framework.zeros(2)}}, "param_groups": [{"lr": 0.1}]},
        "opt": {"save_dir": pathlib.PurePosixPath("runs/train"), "anchors": 3},
        "date": datetime.datetime(2024, 1, 2),
    }


def newer_oneflow_file(path, content):
    """Write a file as OneFlow after 0.9 does: one pickle with the values of the tensors."""
    path.write_bytes(pickle.dumps({"protocol_version": 1, "oneflow": None, "data": content}))


def record(folder):
    folder = pathlib.Path(folder)
    try:
        import oneflow
    except ImportError:
        oneflow = None
    import torch

    def no_source(cls):
        raise OSError("recordings contain neither source code nor its path")

    torch.serialization.get_source_lines_and_file = no_source
    if oneflow is None:
        torch.save(training_checkpoint(torch), folder / "yolov5_zip.pt")
    else:
        torch.save(training_checkpoint(torch), folder / "yolov5_legacy.pt", _use_new_zipfile_serialization=False)
        model, _, idetect = classes(torch)
        torch.save(model(idetect).half().state_dict(), folder / "yolov7_state_dict.pt")
        oneflow.save(training_checkpoint(oneflow)["ema"], folder / "oneflow_folder")
        newer_oneflow_file(folder / "oneflow_file", training_checkpoint(oneflow))


if __name__ == "__main__":
    record(sys.argv[1])
