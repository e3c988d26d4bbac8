"""Import OneFlow 0.9.0 without its effects on the process: variables set, noise, missing libraries."""

from __future__ import annotations

import contextlib
import ctypes
import glob
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

#: Each library after those it needs itself: the loader finds a library that is loaded already by its name.
LIBRARIES = (
    "cublas/lib/libcublasLt.so.11",
    "cublas/lib/libcublas.so.11",
    "cudnn/lib/libcudnn.so.8",
    "cudnn/lib/libcudnn_ops_infer.so.8",
    "cudnn/lib/libcudnn_ops_train.so.8",
    "cudnn/lib/libcudnn_cnn_infer.so.8",
    "cudnn/lib/libcudnn_cnn_train.so.8",
)


def import_oneflow() -> Any:
    """Return the module `oneflow`. If the user has imported it already, do nothing else."""
    if "oneflow" in sys.modules:
        return importlib.import_module("oneflow")
    with _environment_kept(), _stderr_silenced():
        try:
            return importlib.import_module("oneflow")
        except Exception as error:
            _forget_the_attempt()
            if "libcudnn" in str(error) or "libcublas" in str(error):
                preload()  # it links both and ships neither
            else:
                _explain(error)
                raise
        try:
            return importlib.import_module("oneflow")
        except Exception as error:
            _forget_the_attempt()
            _explain(error)
            raise


def preload() -> None:
    """Load cuBLAS 11 and cuDNN 8 from NVIDIA's wheels, from any folder of sys.path.

    OneFlow searches only its own site-packages ($ORIGIN/../nvidia), which misses user and system site-packages.
    """
    for library in LIBRARIES:
        for folder in sys.path:
            path = os.path.join(folder, "nvidia", library)
            if os.path.exists(path):
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
                break


def _explain(error: Exception) -> None:
    """Raise a clearer error for known causes."""
    spec = importlib.util.find_spec("oneflow")
    folders = (spec.submodule_search_locations if spec else None) or []
    if folders and not any(glob.glob(os.path.join(folder, "_oneflow_internal*")) for folder in folders):
        raise ImportError(
            f"the oneflow in {folders[0]} has no compiled core: pip chose a stub wheel, as it does for "
            "a bare 'oneflow' on Python 3.11 and later"
        ) from error
    import numpy as np

    if folders and int(np.__version__.partition(".")[0]) >= 2:
        raise ImportError(f"OneFlow 0.9.0 needs numpy<2, got numpy {np.__version__} ({error})") from error
    if "libcudnn" in str(error) or "libcublas" in str(error):
        raise ImportError(
            f"{error}. OneFlow 0.9.0 needs cuDNN 8 and cuBLAS 11, on machines without a GPU too: "
            "pip install 'nvidia-cudnn-cu11>=8.5,<9' 'nvidia-cublas-cu11<12'"
        ) from error


def _forget_the_attempt() -> None:
    """Remove half-imported modules, so that a second attempt starts from nothing."""
    for module in [name for name in sys.modules if name.partition(".")[0] == "oneflow"]:
        del sys.modules[module]


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Restore the environment: OneFlow sets RANK=-1, WORLD_SIZE and MASTER_*, and torch's init_process_group hangs."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for variable in set(os.environ) - set(before):
            del os.environ[variable]
        os.environ.update(before)


@contextlib.contextmanager
def _stderr_silenced() -> Iterator[None]:
    """Hide the two lines that its core writes to descriptor 2; GLOG_minloglevel hides only one."""
    try:
        kept = os.dup(2)
    except OSError:  # closed: there is nothing to silence
        yield
        return
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
