"""Test the command line as a whole: options, errors, exit codes, and the commands `backends` and `show`."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run
from PIL import Image

from anchorlib import backends
from anchorlib.cli import main
from anchorlib.modelfiles import read_anchors

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "nowhere"], "there is no such file or folder"),
        (["fit", BCCD, "--split", "nosuch"], "nosuch"),
        (["fit", BCCD, "--n", "100000"], "needs at least 100000 distinct box sizes"),
        (["fit", BCCD, "--thr", "0.25"], "pass 4"),
        (["fit", BCCD, "--imgsz", "0"], "imgsz must be"),
        (["fit", BCCD, "--seed", "-1"], "seed must be an integer >= 0"),
        (["fit", BCCD, "--generations", "5"], "--generations has no meaning without --method evolve"),
        (["fit", BCCD, "--out", "nosuch/anchors.yaml"], "there is no folder nosuch"),
        (["fit", BCCD, "--device", "cuda"], "CPU only"),
        (["fit", BCCD, "--out", str(ROOT / "pyproject.toml"), "--format", "json"], "is not a json file with anchors"),
        (["fit", BCCD, "--out", str(ROOT / "pyproject.toml")], "unknown suffix"),
        (["fit", BCCD, "--dry-run"], "add --out FILE"),
        (["check", BCCD, "--anchors", "nowhere.yaml"], "nowhere.yaml"),
        (["check", BCCD, "--anchors", BCCD], "expected a file of anchors, got a folder"),
    ],
)
def test_bad_input_ends_with_2_and_one_line(arguments, message, capsys):
    code, out, err = run(*arguments, capsys=capsys)
    assert (code, out) == (2, "")
    assert err.startswith("anchorlib: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_missing_backend_ends_with_2_and_says_how_to_install_it():
    code = "import sys; sys.modules['torch'] = None; from anchorlib.cli import main; sys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", code, "fit", BCCD, "--backend", "torch"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 2
    assert "backend 'torch' did not import" in result.stderr
    assert "pip install 'torch>=1.13'" in result.stderr
    assert "Traceback" not in result.stderr


def test_backends_lists_the_installed_frameworks(backend, capsys):
    code, out, _ = run("backends", capsys=capsys)
    assert code == 0
    assert f"{backend.name:8} {backend.xp.version}" in out
    _, out, _ = run("backends", "--json", capsys=capsys)
    assert set(json.loads(out)) == set(backends.FRAMEWORKS)


def test_an_interrupt_ends_with_130_and_no_traceback(monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("anchorlib.cli.common.read_boxes", interrupted)
    code, _, err = run("fit", BCCD, capsys=capsys)
    assert (code, err) == (130, "anchorlib: interrupted.\n")


def test_a_closed_pipe_is_not_an_error():
    script = f"{sys.executable} -m anchorlib fit {BCCD} --method kmeans | head -n 1"
    result = subprocess.run(script, shell=True, capture_output=True, text=True, cwd=ROOT)
    assert "205 images" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["fti", BCCD], "fit"),
        (["fit", BCCD, "--metod", "kmeans"], "--method"),
        (["fit", "--method=direkt", "x"], "direct"),
        (["show", "x", "--stride", "8", "--json2"], "--json"),
    ],
)
def test_a_misspelt_word_gets_a_suggestion(arguments, meant, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"\nDid you mean {meant}?\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", BCCD, "--qqq"],
        ["show", "x", "--thr", "3"],
        ["backends", "--imgsz2"],
        ["curve", "x", "--differences", "f"],
    ],
)
def test_an_unknown_word_and_an_option_of_another_command_get_no_suggestion(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    err = capsys.readouterr().err
    assert "Did you mean" not in err
    assert (
        f"anchorlib {arguments[0]}: error: unrecognized arguments: {arguments[2 - (arguments[0] == 'backends')]}" in err
    )


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_that_want_them(environment, coloured):
    import os
    import pty

    ours, theirs = pty.openpty()
    result = subprocess.Popen(
        [sys.executable, "-m", "anchorlib", "fit", BCCD, "--method", "kmeans"],
        stdout=theirs,
        cwd=ROOT,
        env={**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    out = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        out += chunk
    assert result.wait() == 0
    os.close(ours)
    assert (b"\x1b[32m9 anchors, a good fit" in out) == coloured
    assert (b"\x1b" in out) == coloured


def test_every_command_has_an_example(capsys):
    from anchorlib.cli import COMMANDS

    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command.__name__.rpartition(".")[2].replace("_", "-"), "--help"])
        assert "example: anchorlib " in capsys.readouterr().out


CHECKPOINTS = ROOT / "tests/data/checkpoints"


@pytest.mark.parametrize(
    "name", ["yolov5_zip.pt", "yolov5_legacy.pt", "yolov7_state_dict.pt", "oneflow_folder", "oneflow_file"]
)
def test_show_prints_the_anchors_of_a_checkpoint(name, capsys):
    code, out, err = run("show", str(CHECKPOINTS / name), capsys=capsys)
    assert (code, err) == (0, "")
    assert "stride 8 " in out
    code, out, _ = run("show", str(CHECKPOINTS / name), "--json", capsys=capsys)
    shown = json.loads(out)
    assert code == 0
    assert sorted(shown["strides"]) == [8, 16, 32]
    layers = [np.asarray(shown["anchors"][i]) for i in np.argsort(shown["strides"])]
    for layer, expected in zip(layers, read_anchors(CHECKPOINTS / name)):
        np.testing.assert_array_equal(layer, expected)


def test_show_of_a_checkpoint_that_runs_something_names_it_and_ends_with_2(tmp_path, capsys):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"anchors": Evil()}))
    code, out, err = run("show", str(tmp_path / "evil.pt"), capsys=capsys)
    assert code == 2
    assert "open" in out + err
    assert not (tmp_path / "pwned").exists()


def test_show_of_a_model_file(tmp_path, capsys):
    path = tmp_path / "m.yaml"
    path.write_text("anchors:\n  - [10,13, 16,30]\n  - [59,119, 116,90]\n")
    code, out, _ = run("show", str(path), capsys=capsys)
    assert (code, out) == (0, f"{path}: yolo, 2 layers\n  10 x 13  16 x 30\n  59 x 119  116 x 90\n")
    assert run("show", str(path), "--strides", "8", capsys=capsys)[0] == 2
    path.write_text("anchors: 3\nhead: [[[17, 20, 23], 1, Detect, [nc, anchors]]]\n")
    code, out, _ = run("show", str(path), capsys=capsys)
    assert (code, "3 anchors per layer" in out) == (0, True)


def test_a_warning_is_one_line_and_not_an_error(tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "labels/1.txt").write_text("0 0.5 0.5 0.2 0.4\n")  # a moment ago: it may change yet
    Image.new("L", (64, 64)).save(tmp_path / "images/1.png")
    (tmp_path / "data.yaml").write_text("train: images\n")
    code, _, err = run("fit", str(tmp_path), "--n", "1", "--cache", str(tmp_path / "c.npz"), capsys=capsys)
    assert code == 0
    assert err.startswith("anchorlib: ")
    assert err.count("\n") == 1


def test_a_data_set_read_as_a_number_is_explained(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--n", "9", BCCD])
    assert capsys.readouterr().err.endswith("Put DATA or FILE first, before options that take several numbers.\n")


def test_no_arguments_print_the_commands(capsys):
    assert main([]) == 2
    assert "check-labels" in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path, capsys):
    code, _, err = run("show", str(tmp_path / "x.pt"), capsys=capsys)
    assert (code, err) == (2, f"anchorlib: {tmp_path / 'x.pt'}: No such file or directory.\n")
