"""Nothing that the system does not let us read or write is lost silently: tried as a user without any rights."""

import contextlib
import io
import multiprocessing
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.data_set_kinds import age
from helpers.slow_counts import make_yolo

from anchorlib.cli import main

pytestmark = pytest.mark.skipif(not hasattr(os, "setuid") or sys.platform == "darwin", reason="needs POSIX and fork")
NOBODY = 65534
GOOD = "0 0.5 0.5 0.2 0.4\n"
MODEL = "nc: 1\nanchors:\n  - [128,256]\n"
CHECKPOINT = Path(__file__).parent.parent / "data" / "checkpoints" / "oneflow_folder"


@pytest.fixture
def root():
    """A folder that everybody may enter; those of pytest are for their owner only."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    make_yolo(folder, [GOOD, GOOD])
    age(folder)  # labels that have just changed are not kept in a cache
    (folder / "model.yaml").write_text(MODEL)
    (folder / "out").mkdir()
    (folder / "out" / "model.yaml").write_text(MODEL)
    shutil.copytree(CHECKPOINT, folder / "checkpoint")
    for place in [folder / "out", *(folder / "out").iterdir()]:
        place.chmod(0o777)
        if os.geteuid() == 0:
            os.chown(place, NOBODY, NOBODY)
    yield folder
    for here, _, _ in os.walk(folder, topdown=True):
        os.chmod(here, 0o700)
    shutil.rmtree(folder)


def run_without_rights(results, arguments):
    os.umask(0o022)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except BaseException as error:
            code = repr(error)
    results.put((code, out.getvalue(), err.getvalue()))


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported(tmp_path_factory):
    """The user without rights may not be allowed to read the modules: those of Python are imported when needed."""
    folder = tmp_path_factory.mktemp("first")
    make_yolo(folder, [GOOD, "0 0.5 0.5 0.2 0.4"])
    (folder / "model.yaml").write_text(MODEL)
    (folder / "out").mkdir()
    (folder / "bad").mkdir()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for command in (
            FIT,
            CHECK,
            CURVE,
            LABELS,
            NEW,
            REPORT,
            CACHE,
            ("show", "model.yaml"),
            ("check-labels", "bad/"),
        ):
            main(in_folder(folder, command))
        main(["show", str(CHECKPOINT)])


def in_folder(folder, command):
    return [str(folder / word) if set("./") & set(word) or word == "checkpoint" else word for word in command]


def run(*arguments):
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=run_without_rights, args=(results, list(arguments)))
    process.start()
    found = results.get()
    process.join()
    return found


FIT = ("fit", "data.yaml", "--n", "1")
CHECK = ("check", "data.yaml", "--anchors", "model.yaml")
CURVE = ("curve", "data.yaml", "--k", "1")
LABELS = ("check-labels", "data.yaml")
OUT = ("fit", "data.yaml", "--out", "out/model.yaml")
REPORT = (*FIT, "--report", "out/report.html", "--no-curve")
CACHE = (*FIT, "--cache", "out/cache")
NEW = (*FIT, "--out", "out/new.json")


@pytest.mark.parametrize(
    ("place", "mode", "command", "codes", "told"),
    [
        *(("labels/train/a.txt", 0, command, {1}, "unreadable path") for command in (FIT, CHECK, CURVE, LABELS)),
        *(("labels/train", mode, LABELS, {1}, "unreadable path") for mode in (0, 0o644)),
        *(("labels/train", mode, FIT, {1, 2}, "Permission denied") for mode in (0, 0o644)),
        *(("images/train", mode, LABELS, {1, 2}, "Permission denied") for mode in (0, 0o644)),
        ("images/train/a.png", 0, LABELS, {1}, "unreadable path"),
        *((".", mode, LABELS, {2}, "data.yaml: cannot be read: Permission denied") for mode in (0, 0o644)),
        ("data.yaml", 0, LABELS, {2}, "data.yaml"),
        ("model.yaml", 0, CHECK, {2}, "model.yaml: Permission denied"),
        ("model.yaml", 0, ("show", "model.yaml"), {2}, "model.yaml: Permission denied"),
        ("out", 0, OUT, {2}, "out/model.yaml: Permission denied"),
        ("out", 0o555, OUT, {2}, "out/model.yaml: Permission denied"),
        ("out/model.yaml", 0, OUT, {2}, "out/model.yaml: Permission denied"),
        ("out/model.yaml", 0o444, OUT, {2}, "the file is read-only"),
        ("out", 0o555, NEW, {2}, "out/new.json: Permission denied"),
        ("out", 0o333, NEW, {0}, "Wrote"),  # the folder cannot be synced, and the file is written
        ("out", 0o555, REPORT, {2}, "report.html: Permission denied"),
        ("out", 0, REPORT, {2}, "report.html: Permission denied"),
        ("out", 0o555, CACHE, {0}, "the cache was not written: Permission denied"),
        ("out/model.yaml", 0, (*FIT, "--cache", "out/model.yaml"), {0}, "the cache was not written"),
        *(("checkpoint", mode, ("show", "checkpoint"), {2}, "Permission denied") for mode in (0, 0o644)),
        ("checkpoint/pickled_data", 0, ("show", "checkpoint"), {2}, "pickled_data: Permission denied"),
        ("checkpoint/tensor_11/meta", 0, ("show", "checkpoint"), {2}, "meta: Permission denied"),
        ("checkpoint/tensor_11", 0o644, ("show", "checkpoint"), {2}, "Permission denied"),
    ],
)
def test_what_may_not_be_read_or_written_is_told(root, place, mode, command, codes, told):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    names = set(root.rglob("*"))
    (root / place).chmod(mode)
    code, out, err = run(*in_folder(root, command))
    locked = stat.S_IMODE(os.stat(root / place).st_mode)
    (root / place).chmod(0o700)
    assert code in codes, (code, out, err)
    assert told in out + err, (out, err)
    assert "Traceback" not in out + err
    assert locked == mode
    if 0 not in codes:
        assert {path: path.read_bytes() for path in before} == before
        assert set(root.rglob("*")) == names  # no temporary file is left
