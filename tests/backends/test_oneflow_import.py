"""Importing OneFlow leaves no trace and says why it failed; what kills its process is guarded."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(code, *, path=(), **environment):
    """A fresh process in the source tree; its (exit status, stdout, stderr)."""
    found = [str(entry) for entry in path] + [str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_importing_anchorlib_imports_no_framework():
    code = "import sys, anchorlib.backends; print([m for m in ('torch', 'oneflow') if m in sys.modules])"
    assert run(code) == (0, "[]\n", "")


def test_an_array_of_numpy_imports_no_other_framework():
    code = (
        "import sys, numpy as np; from anchorlib import backends; backends.namespace_of(np.zeros(2))\n"
        "print([m for m in ('torch', 'oneflow') if m in sys.modules])"
    )
    assert run(code) == (0, "[]\n", "")


@pytest.mark.needs("oneflow")
def test_loading_oneflow_leaves_the_environment_and_both_streams_as_they_were():
    code = (
        "import os; before = dict(os.environ); from anchorlib.backends import load; xp = load('oneflow')\n"
        "assert dict(os.environ) == before, set(os.environ) ^ set(before)\n"
        "assert 'RANK' not in os.environ\n"
        "assert float(xp.sum(xp.ones((3,)))) == 3.0"
    )
    environment = {"WORLD_SIZE": "8", "CUDA_MODULE_LOADING": "EAGER"}  # what the user set stays
    assert run(code, **environment) == (0, "", "")


@pytest.mark.needs("oneflow")
def test_stderr_works_again_after_loading_oneflow():
    code = "import os; from anchorlib.backends import load; load('oneflow'); os.write(2, b'heard')"
    assert run(code) == (0, "", "heard")


@pytest.mark.needs("oneflow")
def test_a_closed_stderr_is_no_obstacle():
    code = "import os; os.close(2); from anchorlib import backends; print(backends.load('oneflow').name)"
    assert run(code)[:2] == (0, "oneflow\n")


@pytest.mark.needs("oneflow")
def test_nothing_is_done_when_the_user_imported_oneflow():
    code = (
        "import oneflow, os, sys; os.environ['RANK'] = '3'\n"
        "from anchorlib.backends import _oneflow_import\n"
        "_oneflow_import._environment_kept = _oneflow_import._stderr_silenced = None  # a call would fail\n"
        "from anchorlib import backends; xp = backends.load('oneflow')\n"
        "print(xp.flow is oneflow, os.environ['RANK'])"
    )
    status, out, _ = run(code)
    assert (status, out) == (0, "True 3\n")


@pytest.mark.needs("oneflow")
@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("xp.sort(xp.zeros((0,)))", "shape=(0,)"),
        ("xp.argsort(xp.zeros((0, 3)), axis=0)", "shape=(0, 3)"),
        ("xp.sort(xp.asarray(3.0))", "IndexError"),
        ("xp.log_softmax(xp.asarray(3.0))", "IndexError"),
        ("xp.floor_divide(xp.asarray([7, -7]), xp.asarray([0, 2]))", "[0, -4]"),
        ("xp.remainder(xp.asarray([7, -7]), xp.asarray([0, 2]))", "[0, 1]"),
        ("xp.floor_divide(xp.asarray([7]), 0)", "[0]"),
        ("xp.remainder(xp.asarray([7]), 0)", "[0]"),
        ("xp.floor_divide(xp.asarray([-2**63]), -1)", "[-9223372036854775808]"),
        ("xp.take(xp.ones((3,)), xp.asarray([3]))", "IndexError"),
        ("xp.take(xp.ones((3,)), xp.asarray([-4]))", "IndexError"),
        ("xp.take(xp.arange(3), xp.asarray([-1]))", "[2]"),
        ("xp.put_rows(xp.ones((3,)), xp.asarray([3]), xp.ones((1,)))", "IndexError"),
        ("xp.argmin(xp.asarray(3.0))", "0"),
        ("xp.argmax(xp.zeros((0,)))", "ValueError"),
        ("xp.bce_with_logits(xp.zeros((0, 2)), xp.zeros((0, 2)), pos_weight=xp.ones((2,)))", "shape=(0, 2)"),
        ("xp.zeros((2,), device='cuda:63')", "DeviceError"),
        ("xp.to_device(xp.zeros((2,)), 'cuda:63')", "DeviceError"),
        ("xp.from_numpy(np.zeros(2, np.float16))", "ArrayTypeError"),
    ],
)
def test_what_kills_oneflow_does_not_kill_the_process(does, expected):
    code = (
        "import numpy as np; from anchorlib import backends; xp = backends.load('oneflow')\n"
        f"try: x = {does}\n"
        "except Exception as error: print(type(error).__name__)\n"
        "else: x = x.numpy(); print(x.tolist() if x.size else f'shape={x.shape}')"
    )
    assert run(code) == (0, expected + "\n", "")


MESSAGE = (
    "from anchorlib import backends\n"
    "try: backends.load('oneflow')\n"
    "except backends.BackendMissingError as error: print(error); print(repr(error.__cause__))\n"
)


def fake_oneflow(folder, text, *, core=True):
    (folder / "oneflow").mkdir()
    (folder / "oneflow" / "__init__.py").write_text(text)
    if core:
        (folder / "oneflow" / "_oneflow_internal.so").touch()
    return folder


def test_a_broken_library_is_told_with_its_cause_and_the_pip_line(tmp_path):
    broken = fake_oneflow(tmp_path, "raise OSError('libstrange.so.1: cannot open shared object file')")
    status, out, err = run(MESSAGE, path=[broken])
    assert (status, err) == (0, "")
    assert out.startswith("backend 'oneflow' did not import: ")
    assert "libstrange.so.1: cannot open" in out
    assert "pip install oneflow==0.9.0 'numpy<2'" in out


def test_a_wheel_without_a_core_is_called_a_stub(tmp_path):
    stub = fake_oneflow(tmp_path, "import oneflow._oneflow_internal", core=False)
    status, out, _ = run(MESSAGE, path=[stub])
    assert status == 0
    assert f"the oneflow in {stub / 'oneflow'} has no compiled core" in out


def test_cudnn_that_is_nowhere_is_told_by_name(tmp_path):
    text = "raise ImportError('libcudnn_cnn_infer.so.8: cannot open shared object file')"
    status, out, _ = run(
        "from anchorlib.backends import _oneflow_import; _oneflow_import.LIBRARIES = ()\n" + MESSAGE,
        path=[fake_oneflow(tmp_path, text)],
    )
    assert status == 0
    assert "libcudnn_cnn_infer.so.8" in out
    assert "nvidia-cudnn-cu11" in out or "numpy<2" in out  # under NumPy 2 that comes first: it is in the way too


def test_numpy_2_beside_oneflow_is_told(tmp_path):
    text = "raise AttributeError('np.product was removed')"
    code = "import numpy; numpy.__version__ = '2.1.0'\n" + MESSAGE
    status, out, _ = run(code, path=[fake_oneflow(tmp_path, text)])
    assert status == 0
    assert "OneFlow 0.9.0 needs numpy<2, got numpy 2.1.0" in out
    assert "np.product was removed" in out


def test_a_missing_oneflow_is_told_with_its_cause_and_the_pip_line():
    code = "import sys; sys.modules['oneflow'] = None\n" + MESSAGE
    status, out, _ = run(code)
    assert status == 0
    assert "pip install oneflow==0.9.0 'numpy<2'" in out
    assert "ModuleNotFoundError" in out


def test_a_failed_import_leaves_the_environment_and_no_half_made_modules(tmp_path):
    text = "import os; os.environ['RANK'] = '-1'; import oneflow.part\nraise OSError('no')"
    folder = fake_oneflow(tmp_path, text)
    (folder / "oneflow" / "part.py").touch()
    code = "import os, sys\n" + MESSAGE + "print('RANK' in os.environ, [m for m in sys.modules if m[:7] == 'oneflow'])"
    status, out, _ = run(code, path=[folder])
    assert status == 0
    assert out.endswith("False []\n")


@pytest.mark.needs("oneflow")
def test_libraries_in_another_folder_of_sys_path_are_preloaded(tmp_path):
    """OneFlow seen through links: $ORIGIN/../nvidia is not there, as with user and system site-packages."""
    package = Path(importlib.util.find_spec("oneflow").origin).parent
    copy = tmp_path / "oneflow"
    copy.mkdir()
    for entry in package.iterdir():
        (copy / entry.name).symlink_to(entry)
    for entry in package.parent.glob("oneflow.libs"):
        (tmp_path / entry.name).symlink_to(entry)
    only_oneflow = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import oneflow"
    status, _, err = run(only_oneflow)
    assert status != 0, "the plain import works from here too, so this test shows nothing"
    assert "libcu" in err
    status, out, err = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from anchorlib import backends\n"
        "xp = backends.load('oneflow'); print(xp.flow.__file__, float(xp.sum(xp.ones((3,)))))"
    )
    assert (status, out, err) == (0, f"{copy / '__init__.py'} 3.0\n", "")
