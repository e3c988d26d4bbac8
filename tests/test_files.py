"""Files are opened only if they are regular and not too large."""

import os

import pytest

from anchorlib.files import RefusedFileError, is_folder, is_regular, open_regular, read_regular, status_of


def test_the_bytes_of_a_regular_file_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    assert read_regular(str(tmp_path / "a"), 3) == b"123"
    descriptor, size = open_regular(str(tmp_path / "a"))
    os.close(descriptor)
    assert size == 3


def make_large(path):
    path.write_bytes(b"1234")


def make_pipe(path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes in its file system")
    os.mkfifo(path)


def test_a_path_is_absent_only_if_the_system_says_so(tmp_path):
    """os.path.exists says so after any error."""
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    assert [is_regular(tmp_path / "a"), is_folder(tmp_path), is_regular(tmp_path), is_folder(tmp_path / "a")] == [
        *(True, True, False, False)
    ]
    for missing in (tmp_path / "none", tmp_path / "a" / "none"):
        assert status_of(missing) is None
        assert not is_regular(missing)
        assert not is_folder(missing)
    for unknown in (tmp_path / "loop", tmp_path / ("x" * 300)):
        for function in (status_of, is_regular, is_folder):
            with pytest.raises(OSError, match="levels of symbolic links|name too long"):
                function(unknown)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkdir, "a folder"),
        (make_pipe, "a pipe or device, not a regular file"),
        (make_large, "4 bytes, more than the limit of 3"),
    ],
)
def test_other_paths_are_refused_at_once_and_their_status_is_passed_on(tmp_path, make, message):
    make(tmp_path / "a")
    seen = []
    with pytest.raises(RefusedFileError, match=message):
        open_regular(str(tmp_path / "a"), 3, seen.append)
    assert [info.st_ino for info in seen] == [os.stat(tmp_path / "a").st_ino]


def test_a_path_that_cannot_exist_is_refused_and_a_missing_one_is_an_error_of_the_system(tmp_path):
    with pytest.raises(RefusedFileError, match="not a path"):
        read_regular("a\0b", 3)
    with pytest.raises(FileNotFoundError):
        read_regular(str(tmp_path / "none"), 3)
