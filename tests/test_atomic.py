"""Files are replaced whole, keep what belongs to them, and never lose what another program wrote."""

import contextlib
import errno
import multiprocessing
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from helpers.model_file_layouts import example, yolo_yaml

from anchorlib import atomic
from anchorlib.atomic import FileChangedError, write_atomically
from anchorlib.errors import ModelError
from anchorlib.modelfiles import edit_anchors, write_anchors

LAYERS = np.arange(1, 19, dtype=np.float32).reshape(3, 3, 2) * 100


def test_the_longest_name_that_the_system_takes_is_written(tmp_path):
    for name in ("a" * 250 + ".yaml", "ä" * 125 + ".yaml"):
        write_atomically(tmp_path / name, b"1")
        write_atomically(tmp_path / name, b"2")
        assert (tmp_path / name).read_bytes() == b"2"
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "chmod"])
def test_an_error_names_the_file_of_the_caller_and_never_the_temporary_one(tmp_path, monkeypatch, call):
    (tmp_path / "m.yaml").write_text("old")

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device", ".anchorlib-temporary.tmp")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            write_atomically(tmp_path / "m.yaml", b"new")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "m.yaml")
    assert ".tmp" not in str(caught.value)
    assert (tmp_path / "m.yaml").read_text() == "old"
    assert os.listdir(tmp_path) == ["m.yaml"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give a file away")
def test_root_leaves_a_file_to_its_owner(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(yolo_yaml(example(3, 3)))
    os.chown(path, 1234, 4321)
    path.chmod(0o4640)
    edit_anchors(path, LAYERS)
    info = path.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (1234, 4321, 0o4640)


def test_an_owner_that_cannot_be_kept_does_not_stop_the_edit(tmp_path, monkeypatch):
    path, asked = tmp_path / "m.yaml", []
    path.write_text("old")
    real = os.stat

    def of_another_user(file, *args, **options):
        info = list(real(file, *args, **options))
        if str(file) == str(path):
            info[4], info[5] = 1234, 4321
        return os.stat_result(info)

    def refuse(file, user, group):
        asked.append((user, group))
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(atomic.os, "stat", of_another_user)
    monkeypatch.setattr(atomic.os, "chown", refuse)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert asked == [(1234, 4321), (-1, 4321)]


def test_extended_attributes_are_kept(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(yolo_yaml(example(3, 3)))
    try:
        os.setxattr(path, "user.comment", b"mine")
    except (AttributeError, OSError):
        pytest.skip("this file system has no extended attributes")
    edit_anchors(path, LAYERS)
    assert os.getxattr(path, "user.comment") == b"mine"


def test_a_private_file_is_private_at_every_moment(tmp_path, monkeypatch):
    path, modes = tmp_path / "m.yaml", []
    path.write_text("old")
    path.chmod(0o600)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: modes.append(os.fstat(fd).st_mode & 0o777) or write(fd, data))
    write_atomically(path, b"new")
    assert modes == [0o600]


@pytest.mark.parametrize("change", ["same length", "longer", "deleted", "pipe"])
def test_a_file_that_changed_since_it_was_read_is_not_overwritten(tmp_path, monkeypatch, change):
    path = tmp_path / "m.yaml"
    old = yolo_yaml(example(3, 3))
    path.write_text(old)
    theirs = {"same length": old.replace("nc", "nd", 1), "longer": old + "# a line of theirs\n"}.get(change)
    assert theirs != old
    fsync = os.fsync

    def meanwhile(descriptor):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        if theirs is not None:
            path.write_text(theirs)
        elif change == "pipe":
            os.mkfifo(path)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(ModelError, match=r"m\.yaml is not changed: the file changed since it was read"):
        edit_anchors(path, LAYERS)
    if theirs is not None:
        assert path.read_text() == theirs
    assert len(os.listdir(tmp_path)) == (change != "deleted")


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_another_process_makes_is_not_replaced(tmp_path, monkeypatch, has_links):
    path = tmp_path / "m.yaml"
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: path.write_text("theirs") and fsync(descriptor))
    if not has_links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    with pytest.raises(ModelError, match=r"m\.yaml is not changed: the file exists already"):
        write_anchors(path, LAYERS)
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["m.yaml"]


def test_a_file_system_without_links_gets_new_files(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    write_atomically(tmp_path / "m", b"new", new=True)
    assert (tmp_path / "m").read_bytes() == b"new"
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"):
        write_atomically(tmp_path / "n", b"new", new=True)
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("thing", ["folder", "pipe", "link to a device"])
def test_only_regular_files_are_replaced(tmp_path, thing):
    """Root could replace /dev/null."""
    path = tmp_path / "a"
    if thing == "folder":
        path.mkdir()
    elif thing == "pipe":
        os.mkfifo(path)
    else:
        try:
            os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except OSError:
            pytest.skip("only root makes devices, and not everywhere")
        path.symlink_to("null")
    before = os.stat(path)
    with pytest.raises(OSError, match=r"not a regular file.*/a'"):
        write_atomically(path, b"new")
    assert os.path.samestat(before, os.stat(path))
    assert len(os.listdir(tmp_path)) == 1 + (thing == "link to a device")


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize("old", [None, b"old"], ids=["made", "edited"])
def test_of_two_processes_that_write_one_file_one_wins_and_the_other_is_told(tmp_path, old):
    context = multiprocessing.get_context("fork")
    rounds = int(os.environ.get("ANCHORLIB_ROUNDS", "20"))
    for trial in range(rounds):
        path, start, results = tmp_path / str(trial), context.Barrier(2), context.SimpleQueue()
        if old is not None:
            path.write_bytes(old)
        both = [context.Process(target=write_one, args=(path, number, start, results, old)) for number in (1, 2)]
        for process in both:
            process.start()
        outcomes = {results.get(), results.get()}
        for process in both:
            process.join()
        assert None in outcomes
        (winner,) = outcomes - {None}
        assert path.read_bytes() == b"%d" % winner * 5000
    assert len(os.listdir(tmp_path)) == rounds


def write_one(path, number, start, results, old):
    start.wait()
    try:
        write_atomically(path, b"%d" % number * 5000, old=old, new=old is None)
        results.put(number)
    except FileChangedError:
        results.put(None)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_a_file_that_another_program_has_locked_is_not_replaced(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "a").write_bytes(b"old")
    with open(tmp_path / "a", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FileChangedError, match="another program has locked the file"):
            write_atomically(tmp_path / "a", b"new", old=b"old")
    write_atomically(tmp_path / "a", b"new", old=b"old")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_the_command_ends_with_2_when_another_program_changed_the_file(tmp_path):
    """`anchorlib fit --out` on a file that changes while it is replaced."""
    path = tmp_path / "m.yaml"
    path.write_text(yolo_yaml(example(3, 3)))
    child = f"""
import os, sys
from anchorlib.cli import main
fsync = os.fsync
os.fsync = lambda descriptor: open({str(path)!r}, "a").write("# theirs\\n") and fsync(descriptor)
sys.exit(main(["fit", "tests/data/bccd", "--split", "all", "--n", "9", "--out", {str(path)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "changed since it was read" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text().endswith("# theirs\n")
