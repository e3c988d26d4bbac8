"""Read malicious and damaged checkpoints: nothing runs, and each ends in a clear error, soon and in little memory."""

import io
import os
import pickle
import random
import shutil
import struct
import subprocess
import sys
import time
import types
import zipfile
from pathlib import Path

import pytest

from anchorlib.errors import ModelError, UnsafeCheckpointError
from anchorlib.modelfiles import Checkpoint, read_anchors, read_checkpoint
from anchorlib.modelfiles.checkpoint.pickle_policy import Made, Name
from anchorlib.modelfiles.checkpoint.pickle_reader import Pickle

RECORDINGS = Path(__file__).parent.parent / "data" / "checkpoints"
NAMES = ("yolov5_zip.pt", "yolov5_legacy.pt", "yolov7_state_dict.pt", "oneflow_folder", "oneflow_file")


def text(value):
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


class Runs:
    """Pickle as the call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class Builds:
    """Pickle as an empty object that gets a state."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return types.SimpleNamespace, (), self.state


def attacks(command):
    """Return for each name a pickle, the call that must be named, and whether pickle.loads runs the command."""
    call = Runs(os.system, command)
    system = b"cposix\nsystem\n" if os.name == "posix" else b"cnt\nsystem\n"
    arguments = b"(" + text(command) + b"t"
    named = "posix.system" if os.name == "posix" else "nt.system"
    return {
        "a reduce": (pickle.dumps(call), named, True),
        "the text protocol": (pickle.dumps(call, 0), named, True),
        "protocol 2": (pickle.dumps(call, 2), named, True),
        "deep in a dict": (pickle.dumps({"model": [{"a": (1, {"b": call})}]}), named, True),
        "a dict's key": (b"\x80\x04}" + system + arguments + b"RK\x01s.", named, True),
        "a state": (pickle.dumps({"ema": Builds({"_modules": call})}), named, True),
        "a state under other names": (b"\x80\x02(cbuiltins\nset\n]" + system + arguments + b"Rb.", named, True),
        "a state in slots": (
            b"\x80\x02cargparse\nNamespace\n)\x81N}" + text("x") + system + arguments + b"Rs\x86b.",
            named,
            1,
        ),
        "INST": (b"(" + text(command) + b"ios\nsystem\n.", "os.system", True),
        "OBJ": (b"(cos\nsystem\n" + text(command) + b"o.", "os.system", True),
        "names on the stack": (
            b"\x80\x04" + text("os") + text("system") + b"\x93" + arguments + b"R.",
            "os.system",
            True,
        ),
        "a name through another module": (
            b"\x80\x04" + text("shutil") + text("os.system") + b"\x93" + arguments + b"R.",
            "shutil.os.system",
            True,
        ),
        "a name through a harmless module": (
            b"\x80\x04" + text("logging") + text("os.system") + b"\x93" + arguments + b"R.",
            "logging.os.system",
            True,
        ),
        "eval": (b"cbuiltins\neval\n(" + text(f"__import__('os').system({command!r})") + b"tR.", "builtins.eval", True),
        "exec of Python 2": (
            b"\x80\x02c__builtin__\nexec\n(" + text(f"import os; os.system({command!r})") + b"tR.",
            "__builtin__.exec",
            True,
        ),
        "getattr, and a call of what it gives": (
            b"cbuiltins\ngetattr\n(clogging\nos\n" + text("system") + b"tR" + arguments + b"R.",
            "logging.os",
            True,
        ),
        "getattr of a class, called": (
            b"cbuiltins\ngetattr\n(cpathlib\nPath\n"
            + text("touch")
            + b"tR(cpathlib\nPath\n("
            + text(command.split()[-1].strip("'"))
            + b"tRtR.",
            "the result of builtins.getattr",
            True,
        ),
        "a getter": (
            b"coperator\nattrgetter\n(" + text("system") + b"tR(clogging\nos\ntR" + arguments + b"R.",
            "operator.attrgetter",
            True,
        ),
        "an iterator, drained by a new tuple": (
            b"\x80\x04cbuiltins\ntuple\n(cbuiltins\nmap\n(" + system + b"(" + text(command) + b"lt\x81t\x81.",
            "builtins.map",
            True,
        ),
        "subprocess": (pickle.dumps(Runs(subprocess.getoutput, command)), "subprocess.getoutput", True),
        "a function as an instance": (b"\x80\x02" + system + b")\x81.", named, False),
        "a hook for later": (pickle.dumps({"_forward_hooks": os.system}), named, False),
        "another pickle inside": (pickle.dumps(Runs(pickle.loads, pickle.dumps(call))), "_pickle.loads", True),
        "numpy's door": (b"cnumpy\nload\n(" + text("a.npy") + b"tR.", "numpy.load", False),
        "torch's door": (b"ctorch.hub\nload\n(" + text("a") + b"tR.", "torch.hub.load", False),
        "torch's inner pickle": (
            b"ctorch.storage\n_load_from_bytes\n(" + text("a") + b"tR.",
            "_load_from_bytes",
            False,
        ),
        "a harmless function that calls": (
            b"ctorch._tensor\n_rebuild_from_type_v2\n(cnumpy\nload\nN(" + text("a") + b"tNtR.",
            "torch._tensor._rebuild_from_type_v2",
            False,
        ),
        "a base that constructs": (
            b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncmodels\nBase\n" + text(command) + b"tR.",
            "copyreg._reconstructor",
            False,
        ),
        "an extension": (b"\x80\x02\x82\x01.", "copyreg extension 1", False),
        "a change of a class": (
            b"\x80\x02cmodels.yolo\nDetect\n}" + text("forward") + b"Nsb.",
            "a change of models.yolo.Detect",
            False,
        ),
        "a change of a module's dict": (
            b"\x80\x02cmodels.yolo\nTABLE\n" + text("a") + b"Ns.",
            "a change of models.yolo.TABLE",
            False,
        ),
        "a change of a module's list": (b"\x80\x02cmodels.yolo\nLIST\nNa.", "a change of models.yolo.LIST", False),
        "dunders": (
            b"\x80\x04" + text("numpy") + text("ndarray.__class__") + b"\x93.",
            "numpy.ndarray.__class__",
            False,
        ),
        "a name made while loading": (
            b"\x80\x04c_codecs\nencode\n(" + text("os") + b"tR" + text("system") + b"\x93" + arguments + b"R.",
            "a name that is made while loading",
            False,
        ),
        "a persistent id": (b"\x80\x02(" + text("storage") + system + arguments + b"RtQ.", named, False),
        "a nested persistent id": (b"\x80\x02((" + system + arguments + b"RtQtQ.", named, False),
        "a class by persistent id, changed": (
            b"\x80\x02(" + text("module") + b"cmodels.yolo\nDetect\nNNtQ}b.",
            "a change of models.yolo.Detect",
            False,
        ),
        "a damaged one": (b"\x80\x02" + system + arguments + b"R\x00", named, False),
    }


ATTACKS = list(attacks("x"))
CONTAINERS = ("file", "zip", "legacy", "folder")


def contain(data, container, folder):
    """Put the pickle into a checkpoint of each format."""
    path = folder / "bad"
    if container == "file":
        path.write_bytes(data)
    elif container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bad/data.pkl", data)
    elif container == "legacy":
        start = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
        path.write_bytes(start + data + pickle.dumps([], 2))
    else:
        path.mkdir()
        (path / "pickled_data").write_bytes(data)
    return path


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_of_an_attack_runs_and_it_is_named(tmp_path, monkeypatch, name, container):
    marker = tmp_path / "was run"
    data, named, _ = attacks(f"touch '{marker}'")[name]
    monkeypatch.setattr(os, "system", None)  # a further check: it is not even looked up
    with pytest.raises(UnsafeCheckpointError, match="Nothing was run here") as error:
        read_checkpoint(contain(data, container, tmp_path))
    assert named in str(error.value)
    assert not marker.exists()


@pytest.mark.skipif(os.name != "posix", reason="the command is a shell's")
@pytest.mark.parametrize("name", [name for name, attack in attacks("x").items() if attack[2]])
def test_the_attacks_are_real(tmp_path, name):
    """Check that Python's pickle module runs the attacks that the test above finds not run."""
    marker = tmp_path / "was_run"
    data, _, _ = attacks(f"touch {marker}")[name]
    code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
    assert marker.exists()


def test_an_attack_next_to_good_anchors_is_refused_or_reported(tmp_path):
    content = (RECORDINGS / "oneflow_file").read_bytes()
    path = tmp_path / "best.pt"
    path.write_bytes(content[:-1] + text("bad") + b"cos\nsystem\n(" + text("touch run") + b"tRs.")
    with pytest.raises(UnsafeCheckpointError, match="would run os.system when it is loaded"):
        read_anchors(path)
    for calls in ("raise", "refuse"):  # two names of one value
        with pytest.raises(UnsafeCheckpointError, match="would run os.system when it is loaded"):
            read_checkpoint(path, calls=calls)
    found = read_checkpoint(path, calls="report")
    assert found.refused == ("os.system",)
    assert found.anchors[0].tolist() == [[10, 13], [16, 30], [33, 23]]
    assert "UNSAFE: to load this file with its framework would run os.system" in str(found)
    assert found.to_dict()["refused"] == ["os.system"]


@pytest.mark.needs("torch")
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_an_attack_that_torch_saved_is_named(tmp_path, new):
    import torch

    content = {"model": torch.nn.Linear(1, 1), "callback": Runs(os.system, f"touch '{tmp_path / 'run'}'")}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=new)
    with pytest.raises(UnsafeCheckpointError, match=r"\w+.system"):
        read_checkpoint(tmp_path / "a.pt")
    assert not (tmp_path / "run").exists()


@pytest.mark.needs("oneflow")
def test_an_attack_that_oneflow_saved_is_named(tmp_path):
    import oneflow

    oneflow.save({"callback": Runs(os.system, f"touch '{tmp_path / 'run'}'")}, str(tmp_path / "a"))
    with pytest.raises(UnsafeCheckpointError, match=r"\w+.system"):
        read_checkpoint(tmp_path / "a")
    assert not (tmp_path / "run").exists()


def test_names_from_a_file_cannot_write_to_the_terminal(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"\x80\x04" + text("os") + text("\x1b[2J\n" + "x" * 900) + b"\x93.")
    with pytest.raises(UnsafeCheckpointError, match=r"os.\\x1b\[2J\\nx") as error:
        read_checkpoint(tmp_path / "a.pt")
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


def test_values_stay_inert_with_any_state():
    data = b"\x80\x02cmodels\nA\n)\x81}" + text("__class__") + b"cbuiltins\nset\ns}" + text("of") + b"Ns\x86b."
    value = Pickle(io.BytesIO(data), {}).read()
    assert type(value) is Made
    assert type(value.of) is Name
    assert (value.of.module, value.of.name) == ("models", "A")


@pytest.mark.parametrize("name", ["../../secret", "/etc", "..", ".", "a/b", "a\x00b"])
def test_a_tensor_cannot_be_outside_its_folder(tmp_path, name):
    content = {"protocol_version": 1, "data": {"a.anchors": 0}}
    tensor = b"coneflow\nTensor\n)\x81}" + text("path") + text(name) + b"sb"
    folder = tmp_path / "best"
    folder.mkdir()
    data = pickle.dumps(content, 2)
    assert data.count(b"K\x00") == 1
    (folder / "pickled_data").write_bytes(data.replace(b"K\x00", tensor))
    with pytest.raises(ModelError, match="a tensor is outside the folder"):
        read_checkpoint(folder)


# Bombs: a few bytes, or a few million, that need hours or gigabytes to load

SHARED = (  # many objects that share one dict of many entries
    b"\x80\x02]("
    + b"}("
    + b"".join(text(str(i)) + b"]" for i in range(5000))
    + b"uq\x00"
    + b"cm\nA\n)\x81h\x00b" * 5000
    + b"e."
)
RECORDED = {name: (RECORDINGS / name).read_bytes() for name in NAMES if name != "oneflow_folder"}
BOMBS = {
    "a memo of gigabytes": (b"\x80\x02Nr\xff\xff\xff\xff.", "has no anchors"),
    "bytes beyond the file": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "bytes where 2 are left"),
    "text beyond the file": (b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.", "bytes where 2 are left"),
    "a long number": (b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1) + b"x.", "bytes where 2 are left"),
    "a long decimal number": (b"\x80\x02L" + b"9" * 3_000_000 + b"L\n.", "a line, or has a line that is too long"),
    "many long decimal numbers": (b"\x80\x02" + (b"L" + b"9" * 4000 + b"L\n0") * 3000 + b"N.", "has no anchors"),
    "deep nesting": (b"\x80\x02)" + b"\x85" * 500_000 + b".", "more objects than any model"),
    "deep nesting of a model": (b"\x80\x02}" + text("model") + b")" + b"\x85" * 500_000 + b"s.", "more objects"),
    "a chain of calls": (b"\x80\x02cm\nf\n" + b")R" * 300_000 + b".", "would run m.f, the result of"),
    "too many instructions": (b"\x80\x02" + b"}" * 2_100_000 + b".", "more than 2000000 instructions"),
    "many objects": (b"\x80\x02](cm\nA\nq\x00" + b"h\x00)\x81" * 600_000 + b"e.", "more objects than any model"),
    "many dicts": (b"\x80\x02](" + b"}" * 1_900_000 + b"e.", "more objects than any model"),
    "laughs": (
        b"\x80\x02]q\x00" + b"".join(b"](" + b"h%c" % i * 10 + b"eq%c" % (i + 1) for i in range(100)) + b".",
        "has no anchors",
    ),
    "a list in itself": (b"\x80\x02]q\x00(h\x00h\x00e.", "has no anchors"),
    "shared entries": (SHARED, "more objects than any model"),
    "keys of one hash": (
        b"\x80\x02}("
        + b"".join(b"\x8a\x0b" + (i * (2**61 - 1)).to_bytes(11, "little") + b"N" for i in range(100_000))
        + b"u.",
        "has no anchors",
    ),
    "a long name called often": (
        b"\x80\x04" + text("a" * 60_000) + text("f") + b"\x93\x94" + b"h\x00)R0" * 400_000 + b"N.",
        "a name of 60001 letters",
    ),
    "many heads": (
        b"\x80\x02}(" + b"".join(text(f"{i}.anchors") + b"N" for i in range(50_000)) + b"u.",
        "more objects than any model",
    ),
    "a storage of exabytes": (RECORDED["yolov5_legacy.pt"][:-40] + b"\xff" * 40, "list of storages is damaged"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_in_an_error_soon_and_in_little_memory(tmp_path, name):
    data, message = BOMBS[name]
    (tmp_path / "a.pt").write_bytes(data)
    code = (
        "import resource, sys, time\nfrom anchorlib.errors import ModelError\n"
        "from anchorlib.modelfiles import read_checkpoint\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "try:\n    read_checkpoint(sys.argv[1])\nexcept ModelError as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.process_time() - start)"
    )
    root = Path(__file__).parent.parent.parent
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.pt")], capture_output=True, text=True, cwd=root, timeout=120
    )
    assert result.returncode == 0, result.stderr
    said, measured = result.stdout.splitlines()
    assert message in said
    kilobytes, seconds = map(float, measured.split())
    assert kilobytes < 900_000
    assert seconds < 20


def test_a_large_file_is_not_read_completely(tmp_path):
    with open(tmp_path / "a.pt", "wb") as file:
        file.write(b"\x80\x04\x8e" + struct.pack("<Q", 2**33))
        file.seek(2**33, 1)
        file.write(b".")
    start = time.process_time()
    with pytest.raises(ModelError, match="has no anchors"):
        read_checkpoint(tmp_path / "a.pt")
    assert time.process_time() - start < 1


def test_a_zip_directory_of_gigabytes_is_not_read(tmp_path):
    with open(tmp_path / "a.pt", "wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(2**32)  # sparse
        file.seek(2**32 - 16)
        file.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 9, 9, 2**32 - 100, 84, 0))
    with pytest.raises(ModelError, match="a directory of 4294967196 bytes"):
        read_checkpoint(tmp_path / "a.pt")


# Damage


def mutated(data, rng):
    """Return the bytes with one of five kinds of damage."""
    data, at = bytearray(data), rng.randrange(len(data))
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for _ in range(rng.choice((1, 1, 3, 20))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
    elif kind == 3:
        data[at : at + 8] = rng.choice((b"\xff" * 8, b"\x00" * 8, b"\x7f" * 4))
    else:
        other = rng.randrange(len(data))
        data[at:at] = data[other : other + rng.randrange(200)]
    return bytes(data)


def repacked(data, change):
    """Write a zip file with a changed data.pkl and correct checksums, so that the damage reaches the pickle reader."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for member in old.infolist():
            content = old.read(member)
            new.writestr(member.filename, change(content) if member.filename.endswith("data.pkl") else content)
    return out.getvalue()


def reads_or_says_why(path):
    """Return "" if the file is read, or the message of its ModelError; any other error fails the test."""
    try:
        found, message = read_checkpoint(path), ""
    except ModelError as error:
        found, message = None, str(error)
    assert isinstance(found, Checkpoint) or str(path) in message
    return message


def mutants(name, seed, folder):
    rng = random.Random(seed)
    source, path = RECORDINGS / name, folder / "mutant.pt"
    if source.is_dir():
        shutil.copytree(source, path, ignore=shutil.ignore_patterns("tensor_9", "tensor_1[02-7]"))
        file = rng.choice([path / "pickled_data", rng.choice(sorted(path.glob("*/meta"))), path / "tensor_11" / "meta"])
        file.write_bytes(mutated(file.read_bytes(), rng))
    elif name.endswith("zip.pt") and rng.random() < 0.5:
        path.write_bytes(repacked(source.read_bytes(), lambda data: mutated(data, rng)))
    else:
        path.write_bytes(mutated(source.read_bytes(), rng))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_read_or_say_what_is_wrong(tmp_path, name):
    rounds = int(os.environ.get("ANCHORLIB_FUZZ", "150"))
    errors = 0
    for seed in range(rounds):
        folder = tmp_path / str(seed)
        folder.mkdir()
        errors += bool(reads_or_says_why(mutants(name, seed, folder)))
        shutil.rmtree(folder)
    assert errors > rounds / 5


@pytest.mark.parametrize("name", [name for name in NAMES if name != "oneflow_folder"])
def test_a_file_truncated_anywhere_is_an_error(tmp_path, name):
    data, path = (RECORDINGS / name).read_bytes(), tmp_path / "a.pt"
    for end in [*range(0, len(data) - 1, max(1, len(data) // 150)), len(data) - 1]:
        path.write_bytes(data[:end])
        assert reads_or_says_why(path), f"{end} of {len(data)} bytes were enough"


def test_a_flipped_bit_of_the_anchors_in_a_zip_file_is_an_error(tmp_path):
    data = bytearray((RECORDINGS / "yolov7_state_dict.pt").read_bytes())
    with zipfile.ZipFile(RECORDINGS / "yolov7_state_dict.pt") as archive:
        anchors = next(archive.read(m) for m in archive.infolist() if "/data/" in m.filename and m.file_size == 36)
    data[data.index(anchors) + 5] ^= 1
    (tmp_path / "a.pt").write_bytes(data)
    assert "does not have the checksum" in reads_or_says_why(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, ""),
        ({"offset": 1}, "ends after the end of its storage"),
        ({"offset": -1}, "description of a tensor is damaged"),
        ({"strides": (6, 2, 2)}, "ends after the end of its storage"),
        ({"strides": (6, 2)}, "description of a tensor is damaged"),
        ({"shape": (2, 3, 2), "strides": (0, 2, 1)}, ""),
        ({"shape": (2, 2**39, 2)}, "has no anchors"),
        ({"shape": (True, 3, 2)}, "damaged"),
        ({"strides": (True, 2, 1)}, "damaged"),
        ({"offset": False}, "damaged"),
        ({"key": "1"}, "storage of a tensor is missing"),
        ({"key": "../../data.pkl"}, "storage of a tensor is missing"),
        ({"kind": "NoStorage"}, "description of a tensor is damaged"),
    ],
)
def test_a_tensor_is_inside_its_storage(tmp_path, change, message):
    tensor = {"key": "0", "kind": "FloatStorage", "offset": 0, "shape": (1, 3, 2), "strides": (6, 2, 1), **change}
    layers = tensor["shape"][0]
    parts = {name: pickle.dumps(tensor[name], 2)[2:-1] for name in ("key", "offset", "shape", "strides")}
    data = b"\x80\x02}" + text("a.anchors") + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage")
    data += f"ctorch\n{tensor['kind']}\n".encode() + parts["key"] + text("cpu") + b"K\x06tQ"
    data += parts["offset"] + parts["shape"] + parts["strides"] + b"\x89NtRs."
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/data/0", struct.pack("<6f", 1, 2, 3, 4, 5, 6))
    if message:
        with pytest.raises(ModelError, match=message):
            read_checkpoint(tmp_path / "a.pt", strides=[8] * layers)
    else:
        found = read_checkpoint(tmp_path / "a.pt", strides=[8] * layers).anchors
        assert [layer.tolist() for layer in found] == [[[8, 16], [24, 32], [40, 48]]] * layers
