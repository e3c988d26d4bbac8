"""Read anchors from checkpoints: from recordings, and from files that the installed frameworks write here."""

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import checkpoint_models
from helpers.checkpoint_models import COCO, STRIDES, classes, newer_oneflow_file, training_checkpoint

from anchorlib.errors import ModelError
from anchorlib.modelfiles import read_anchors, read_checkpoint
from anchorlib.modelfiles.checkpoint.containers import open_contents

RECORDINGS = Path(__file__).parent.parent / "data" / "checkpoints"
FORMATS = {
    "yolov5_zip.pt": ("torch zip", "ema.model.1"),
    "yolov5_legacy.pt": ("torch legacy", "ema.model.1"),
    "yolov7_state_dict.pt": ("torch zip", "model.1"),
    "oneflow_folder": ("OneFlow folder", "model.1"),
    "oneflow_file": ("OneFlow file", "ema.model.1"),
}
ZIP_OR_LEGACY = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def as_lists(layers):
    return [layer.tolist() for layer in layers]


def save(content, path, new=True):
    import torch

    torch.save(content, path, _use_new_zipfile_serialization=new)


@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_of_each_format_gives_the_published_anchors_and_their_module(name):
    found = read_checkpoint(RECORDINGS / name)
    assert as_lists(found.anchors) == COCO
    assert all(layer.dtype == np.float32 and layer.shape == (3, 2) for layer in found.anchors)
    assert (found.format, found.where) == FORMATS[name]
    assert (found.strides, found.order, found.units) == ((8.0, 16.0, 32.0), "ascending", "grid")
    assert (found.notes, found.refused) == ((), ())
    assert as_lists(read_anchors(RECORDINGS / name)) == COCO


def test_a_checkpoint_as_text_and_as_json_has_all_attributes():
    found = read_checkpoint(RECORDINGS / "yolov5_zip.pt")
    assert "torch zip, ema.model.1, anchors kept in grid units" in str(found)
    assert "stride 16   30 x 61  62 x 45  59 x 119" in str(found)
    content = json.loads(json.dumps(found.to_dict()))
    assert content["anchors"] == COCO
    assert (content["strides"], content["order"], content["where"]) == (STRIDES, "ascending", "ema.model.1")


def test_reading_loads_no_framework():
    code = (
        "import sys; from anchorlib.modelfiles import read_checkpoint as r\n"
        f"for name in {list(FORMATS)}: r({str(RECORDINGS)!r} + '/' + name)\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'oneflow', 'checkpoint_models'}))"
    )
    root = Path(__file__).parent.parent.parent
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert result.stdout.strip() == "[]"


def test_the_command_line_takes_a_checkpoint_as_anchors(capsys):
    from anchorlib.cli import main

    data = str(Path(__file__).parent.parent / "data" / "bccd")
    assert main(["check", data, "--anchors", str(RECORDINGS / "oneflow_folder"), "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["anchors"] is not None


# Written here


@pytest.mark.needs("torch")
@ZIP_OR_LEGACY
@pytest.mark.parametrize("half", [False, True], ids=["float", "half"])
def test_a_model_gives_the_values_of_torch_bit_for_bit(tmp_path, new, half):
    import torch

    rng = np.random.default_rng(0)
    anchors = (rng.uniform(3, 300, (2, 4, 2)) * np.asarray([[[1]], [[2]]])).tolist()
    model = classes(torch)[0](anchors=anchors, strides=[4, 12])
    model = model.half() if half else model
    save({"model": model, "ema": None}, tmp_path / "last.pt", new)
    loaded = torch.load(tmp_path / "last.pt", weights_only=False)["model"].model[-1]
    found = read_checkpoint(tmp_path / "last.pt")
    for layer, grid, stride in zip(found.anchors, loaded.anchors, loaded.stride):
        assert (layer == (grid.float() * stride).numpy()).all()
    assert found.strides == (4.0, 12.0)
    assert found.where == "model.model.1"


@pytest.mark.needs("torch")
@ZIP_OR_LEGACY
def test_every_kind_of_tensor_is_read_as_torch_reads_it(tmp_path, new):
    import torch

    whole = torch.arange(24.0).reshape(2, 3, 4)
    named = torch.nn.Parameter(whole[1])
    named.note = "an attribute of its own"
    tensors = {
        "float": whole,
        "half": whole.half(),
        "double": whole.double(),
        "bfloat16": (whole / 7).bfloat16(),
        "long": whole.long(),
        "view": whole[1, 1:, ::2],
        "transposed": whole.permute(2, 0, 1),
        "expanded": torch.ones(1).expand(3, 2),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0),
        "parameter": torch.nn.Parameter(whole[0]),
        "parameter with an attribute": named,
    }
    save(tensors, tmp_path / "t.pt", new)
    refused = {}
    contents = open_contents(tmp_path / "t.pt", refused)
    for name, tensor in tensors.items():
        values = contents.array(contents.root[name])
        expected = tensor.detach().float().numpy() if name == "bfloat16" else tensor.detach().numpy()
        assert (values.dtype, values.shape) == (expected.dtype, expected.shape), name
        assert (values == expected).all(), name
    assert not refused


@pytest.mark.needs("torch")
@ZIP_OR_LEGACY
def test_the_averaged_weights_are_read_as_the_forks_do(tmp_path, new):
    import torch

    content = training_checkpoint(torch)
    save(content, tmp_path / "a.pt", new)
    assert as_lists(read_checkpoint(tmp_path / "a.pt").anchors) == COCO
    save({**content, "ema": None}, tmp_path / "b.pt", new)
    doubled = [[[2 * w, 2 * h] for w, h in layer] for layer in COCO]
    assert as_lists(read_checkpoint(tmp_path / "b.pt").anchors) == doubled
    save({**content, "ema": (content["ema"], 12)}, tmp_path / "c.pt", new)  # as YOLOv5 4.0
    assert read_checkpoint(tmp_path / "c.pt").where == "ema.0.model.1"


@pytest.mark.needs("torch")
@pytest.mark.parametrize("wrap", ["model", "state", "none"])
def test_a_state_dict_with_anchor_grid_shows_its_strides(tmp_path, wrap):
    import torch

    model, _, idetect = classes(torch)
    state = model(idetect).half().state_dict()
    save({"model": {"model": state}, "state": {"state_dict": state}, "none": state}[wrap], tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert as_lists(found.anchors) == COCO
    assert found.strides == (8.0, 16.0, 32.0)


@pytest.mark.needs("torch")
def test_a_state_dict_without_strides_asks_for_them(tmp_path):
    import torch

    save(classes(torch)[0]().state_dict(), tmp_path / "a.pt")
    with pytest.raises(ModelError, match="model.1 has .*neither stride nor.*Pass strides= .--strides. of its 3"):
        read_checkpoint(tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt", strides=STRIDES)
    assert as_lists(found.anchors) == COCO
    with pytest.raises(ModelError, match="3 layers need as many strides > 0"):
        read_checkpoint(tmp_path / "a.pt", strides=(8, 16))
    with pytest.raises(ModelError, match="3 layers need as many strides > 0"):
        read_checkpoint(tmp_path / "a.pt", strides=(8, 16, -1))


def test_strides_that_are_not_those_of_the_file_are_an_error():
    with pytest.raises(ModelError, match=r"has strides \[8.0, 16.0, 32.0\], got \[8, 16, 64\]"):
        read_checkpoint(RECORDINGS / "yolov5_zip.pt", strides=[8, 16, 64])


@pytest.mark.needs("torch")
def test_anchors_in_pixels_are_recognised_by_the_grid(tmp_path):
    import torch

    model, _, idetect = classes(torch)
    whole = model(idetect)
    whole.model[-1].anchors.copy_(torch.tensor(COCO))
    save(whole, tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert (as_lists(found.anchors), found.units) == (COCO, "pixels")
    save(whole.state_dict(), tmp_path / "b.pt")
    with pytest.raises(ModelError, match="neither stride nor an anchor_grid in pixels"):
        read_checkpoint(tmp_path / "b.pt")
    assert as_lists(read_checkpoint(tmp_path / "b.pt", strides=STRIDES).anchors) == COCO


@pytest.mark.needs("torch")
def test_layers_in_reverse_keep_the_order_of_the_file_and_are_sorted_for_a_check(tmp_path):
    import torch

    save(classes(torch)[0](anchors=COCO[::-1], strides=STRIDES[::-1]), tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert (as_lists(found.anchors), found.strides, found.order) == (COCO[::-1], (32.0, 16.0, 8.0), "descending")
    assert not found.notes
    assert as_lists(read_anchors(tmp_path / "a.pt")) == COCO


@pytest.mark.needs("torch")
def test_anchors_against_the_strides_and_a_grid_of_other_anchors_are_noted(tmp_path):
    import torch

    model, _, idetect = classes(torch)
    save(model(anchors=COCO[::-1]), tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").notes == (
        "the anchors shrink while the strides grow: the layers are in reverse order",
    )
    whole = model(idetect)
    whole.model[-1].anchor_grid.mul_(1.5)
    save(whole, tmp_path / "b.pt")
    found = read_checkpoint(tmp_path / "b.pt")
    assert (as_lists(found.anchors), len(found.notes)) == (COCO, 1)
    whole.model[-1].anchor_grid[0] *= torch.rand(3, 1, 1, 2)
    save(whole.state_dict(), tmp_path / "c.pt")
    with pytest.raises(ModelError, match="anchor_grid is not a multiple of anchors in each layer of model.1"):
        read_checkpoint(tmp_path / "c.pt")


@pytest.mark.needs("torch")
def test_the_last_of_two_heads_is_read(tmp_path):
    import torch

    model, detect, _ = classes(torch)
    whole = model()
    whole.first = detect(anchors=[[[1, 1]]], strides=[4])
    whole._modules = dict(reversed(list(whole._modules.items())))  # "first" before "model"
    save(whole, tmp_path / "a.pt")
    assert as_lists(read_checkpoint(tmp_path / "a.pt").anchors) == COCO


@pytest.mark.needs("torch")
def test_a_model_that_refers_to_itself_is_read(tmp_path):
    import torch

    model = classes(torch)[0]()
    model.model[-1].parents = [model]
    save(model, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").where == "model.1"


@pytest.mark.needs("torch")
@pytest.mark.parametrize("spoil", [0.0, -1.0, float("nan"), float("inf")])
def test_sides_that_are_not_finite_and_positive_are_an_error(tmp_path, spoil):
    import torch

    model = classes(torch)[0]()
    model.model[-1].anchors[1, 0, 0] = spoil
    save(model, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="every side of an anchor must be > 0"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.needs("torch")
def test_a_model_without_anchors_says_so(tmp_path):
    import torch

    model = classes(torch)[0]()
    model.model[-1].anchors = torch.rand(2, 8400)  # the points of YOLOv8's grid
    save({"model": model, "anchors": torch.empty(0)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="has no anchors.*as YOLOv8 and later"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.needs("torch")
def test_torchscript_says_what_to_pass_instead(tmp_path):
    import torch

    torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), str(tmp_path / "a.pt"))
    with pytest.raises(ModelError, match="TorchScript"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.needs("torch")
def test_a_file_without_checksums_is_read(tmp_path):
    import torch

    if not hasattr(torch.serialization, "set_crc32_options"):
        pytest.skip("this version always writes checksums")
    torch.serialization.set_crc32_options(False)
    try:
        save(training_checkpoint(torch), tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert as_lists(read_checkpoint(tmp_path / "a.pt").anchors) == COCO


@pytest.mark.needs("torch")
def test_a_fused_model_with_bound_methods_is_harmless(tmp_path):
    import torch

    model = classes(torch)[0]()
    model.forward = model.extra_repr  # as after fuse(): pickled with getattr
    save(model, tmp_path / "a.pt")
    assert as_lists(read_checkpoint(tmp_path / "a.pt").anchors) == COCO


@pytest.mark.needs("oneflow")
@pytest.mark.parametrize("half", [False, True], ids=["float", "half"])
@pytest.mark.parametrize("as_file", [False, True], ids=["folder", "file"])
def test_what_oneflow_writes_gives_its_values_bit_for_bit(tmp_path, half, as_file):
    import oneflow

    anchors = np.random.default_rng(0).uniform(3, 300, (2, 4, 2)).tolist()
    model = classes(oneflow)[0](anchors=anchors, strides=[4, 12])
    model = model.half() if half else model
    content = {"model": model, "ema": None, "epoch": 1}
    if as_file:
        newer_oneflow_file(tmp_path / "best", content)
    else:
        oneflow.save(content, str(tmp_path / "best"))
    detect = model.model[-1]
    found = read_checkpoint(tmp_path / "best")
    for layer, grid, stride in zip(found.anchors, detect.anchors.numpy(), detect.stride.numpy()):
        assert (layer == grid.astype(np.float32) * np.float32(stride)).all()
    assert found.format == ("OneFlow file" if as_file else "OneFlow folder")


@pytest.mark.needs("oneflow")
def test_a_state_dict_of_oneflow_is_read_with_and_without_its_pickle(tmp_path):
    import oneflow

    model, _, idetect = classes(oneflow)
    state = model(idetect).state_dict()
    oneflow.save(state, str(tmp_path / "new"))
    assert as_lists(read_checkpoint(tmp_path / "new").anchors) == COCO
    for name, tensor in state.items():  # the older format: a folder for each name
        oneflow.framework.check_point_v2._save_tensor_to_disk(tensor, tmp_path / "old" / name)
    (tmp_path / "old" / "snapshot_done").touch()
    found = read_checkpoint(tmp_path / "old")
    assert (as_lists(found.anchors), found.where) == (COCO, "model.1")


@pytest.mark.needs("oneflow", "torch")
def test_a_torch_file_that_oneflow_users_have_is_read(tmp_path):
    import torch

    save(training_checkpoint(torch), tmp_path / "a.pt")
    assert as_lists(read_checkpoint(tmp_path / "a.pt").anchors) == COCO


# Other files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n",
            "it is a pointer of Git LFS: run `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><html>Not Found</html>", "it is a web page: the download failed"),
        (b"\x89PNG\r\n", "starts neither as a zip file nor as a pickle"),
        (b"\x00" * 1000, "starts neither as a zip file nor as a pickle"),
        (b"\x80\x02", "the pickle ends in the middle"),
        (b"\x80\x02\x00", "byte 2 is not a pickle instruction"),
        (b"\x80\x02R", "the pickle is damaged before byte 3"),
        (b"PK\x03\x04" + b"\x00" * 100, "its zip directory is damaged"),
        (pickle.dumps([1, 2]), "has no anchors"),
        (pickle.dumps({"anchors": [[1, 2]]}), "has no anchors"),
        (b"\x00" * 257 + b"ustar" + b"\x00" * 100, "it is a tar file"),
    ],
)
def test_a_file_that_is_not_a_checkpoint_is_a_model_error(tmp_path, content, message):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(path)
    with pytest.raises(ModelError, match=message):
        read_anchors(path)


def test_other_zip_files_and_folders_are_model_errors(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme", "text")
    with pytest.raises(ModelError, match="without the one data.pkl"):
        read_checkpoint(tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}))
    with pytest.raises(ModelError, match="compressed or encrypted"):
        read_checkpoint(tmp_path / "a.pt")
    with pytest.raises(ModelError, match="without the pickled_data"):
        read_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="calls must be one of report, raise"):
        read_checkpoint(tmp_path, calls="run")


def test_the_recordings_are_what_this_file_makes():
    """Check that the recordings were made with the classes of checkpoint_models, so that they can be made again."""
    assert b"checkpoint_models" in (RECORDINGS / "yolov5_legacy.pt").read_bytes()
    assert checkpoint_models.COCO == COCO
