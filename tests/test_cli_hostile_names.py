"""Test that no name, value or argument can send a control character to the terminal or begin a line of its own."""

import json
import os
import pickle
import re
import shutil
import sys
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from anchorlib.cli import main
from anchorlib.cli.terminal import SEQUENCE

ROOT = Path(__file__).parent.parent

#: a title, a bell, a cleared screen, a second line, an overwritten line, a C1 colour, reversed text, DEL, a surrogate
NASTY = "n\x1b]0;title\x07\x1b[2J\x1b[31m\nFORGED\rFORGED\x9b31m\u202e\u2028FORGED\x7f\udcce"
IN_TEXT = NASTY.replace("\udcce", "")  # a text file cannot hold a lone surrogate


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Go to a folder with data sets and files in which everything that can be named is named NASTY."""
    monkeypatch.chdir(tmp_path)
    root = Path(NASTY)
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    Image.new("L", (64, 64)).save(root / "images" / f"{NASTY}.png")
    rows = ["0 0.5 0.5 0.5 0.25", "1 0.5 0.5 0.5 0.5", "1 0.4 0.5 0.3 0.7", f"0 0.5 {NASTY}", "0 0.5 0.5 0 0.2"]
    (root / "labels" / f"{NASTY}.txt").write_bytes("\n".join(rows).encode("utf-8", "surrogateescape"))
    (root / "labels" / f"lost{NASTY}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (root / "data.yaml").write_text(json.dumps({"train": "images", "names": [IN_TEXT, "b", f"unused{IN_TEXT}"]}))
    coco = {
        "images": [{"id": 1, "file_name": IN_TEXT, "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": IN_TEXT}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 30]},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 30, 10]},
            {"id": IN_TEXT, "image_id": IN_TEXT, "category_id": IN_TEXT, "bbox": [IN_TEXT, 1, 2, 3]},
            {"id": 4, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2]},
        ],
    }
    Path(f"{NASTY}.json").write_text(json.dumps(coco))
    Path(f"m{NASTY}.yaml").write_text("# \u202eFORGED\nanchors:\n  - [10,13, 16,30]\nnc: 2\n")
    Path(f"a{NASTY}.json").write_text("[[10, 13], [16, 30]]")
    Path(f"c{NASTY}.json").write_text("[[10, 13], [16, 30]]")
    Path(f"{NASTY}.pt").write_bytes(pickle.dumps({"anchors": Evil(), IN_TEXT: IN_TEXT}, protocol=0))
    word = IN_TEXT.encode()
    called = b"".join(b"\x8c" + bytes([len(word)]) + word for _ in ("module", "name"))
    Path(f"call{NASTY}.pt").write_bytes(b"\x80\x04" + called + b"\x93)R.")  # asks for NASTY.NASTY()
    shutil.copy(ROOT / "tests/data/checkpoints/yolov5_zip.pt", f"zip{NASTY}.pt")
    one_line = NASTY.translate(dict.fromkeys(map(ord, "\n\r\u2028"), "_"))
    Path(f"{NASTY}.txt").write_bytes(f"{one_line}.png\n".encode("utf-8", "surrogateescape"))
    return root


class Evil:
    """Ask for a function whose name is not one of those that checkpoints need."""

    def __reduce__(self):
        return (os.getenv, (IN_TEXT,))


DATA, COCO, MODEL, ANCHORS = NASTY, f"{NASTY}.json", f"m{NASTY}.yaml", f"a{NASTY}.json"

COMMANDS = {
    "fit": ["fit", DATA, "--n", "2", "--report", f"{NASTY}.html", "--no-curve", "--out", f"new{NASTY}.yaml"],
    "fit a coco file": ["fit", COCO, "--n", "2"],
    "fit into a model file": ["fit", DATA, "--out", MODEL],
    "show the difference": ["fit", DATA, "--out", MODEL, "--dry-run"],
    "compare": ["fit", DATA, "--n", "2", "--anchors", ANCHORS],
    "check": ["check", DATA, "--anchors", ANCHORS],
    "curve": ["curve", DATA, "--k", "1-5", "--report", f"{NASTY}.html"],
    "labels": ["check-labels", DATA],
    "labels of a coco file": ["check-labels", COCO],
    "labels of a list": ["check-labels", f"{NASTY}.txt"],
    "show a model file": ["show", MODEL],
    "show anchors": ["show", ANCHORS],
    "show a checkpoint": ["show", f"{NASTY}.pt"],
    "show another checkpoint": ["show", f"zip{NASTY}.pt"],
    "show a call": ["show", f"call{NASTY}.pt"],
    "no data": ["fit", f"nowhere{NASTY}"],
    "no split": ["fit", DATA, "--split", NASTY],
    "no list": ["fit", COCO, "--split", NASTY],
    "no anchors": ["check", DATA, "--anchors", f"nowhere{NASTY}.json"],
    "no anchors in the file": ["check", DATA, "--anchors", COCO],
    "no folder": ["fit", DATA, "--out", f"{NASTY}/nowhere{NASTY}/a.yaml"],
    "no such report": ["fit", DATA, "--report", f"{NASTY}.pdf"],
    "a cache that is no cache": ["fit", DATA, "--n", "2", "--cache", f"c{NASTY}.json"],
    "one file twice": ["fit", DATA, "--cache", f"{NASTY}.html", "--report", f"{NASTY}.html"],
    "an unknown command": [NASTY],
    "an unknown option": ["fit", DATA, f"--{NASTY}"],
    "an unknown choice": ["fit", DATA, "--method", NASTY],
    "an unknown kind": ["check-labels", DATA, "--show", NASTY],
    "no number": ["fit", DATA, "--n", NASTY],
    "no numbers": ["curve", DATA, "--k", NASTY],
    "an unknown device": ["fit", DATA, "--device", NASTY],
    "an unknown backend": ["verify", "--backends", NASTY],
    "an unknown subject": ["verify", "--subject", NASTY],
    "an unknown module": ["verify", "--candidate", f"{NASTY}:ComputeLoss"],
    "an unknown name": ["verify", "--candidate", f"os:{NASTY}"],
}
KINDS = ("wrong number of fields", "zero area", "missing image")
COMMANDS.update({f"labels: {kind}": ["check-labels", DATA, "--show", kind] for kind in KINDS})
COMMANDS.update(
    {
        f"{name} as json": [*COMMANDS[name], "--json"]
        for name in ("fit", "check", "curve", "labels", "show another checkpoint")
    }
)


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_that_is_named_reaches_the_terminal_as_it_is(hostile, name, monkeypatch, capsys):
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    try:
        code = main(COMMANDS[name])
    except SystemExit as end:
        code = end.code
    captured = capsys.readouterr()
    assert code in (0, 1, 2), captured.err
    assert "internal error" not in captured.err
    assert captured.out + captured.err != ""
    err = re.sub(r"anchorlib [a-z-]+: \d+ s(?=\r)|\r +\r", "", captured.err)  # the seconds of a slow run
    for text in (re.sub(SEQUENCE, "", captured.out), re.sub(SEQUENCE, "", err)):
        control = {mark for mark in text if unicodedata.category(mark) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
        assert control <= {"\n", "\t"}
        assert not re.search(r"^(?! {4})\W*FORGED", text, re.MULTILINE)  # only a wrapped line is indented by four
        assert "\x1b" not in text
    if name.endswith("as json"):
        json.loads(captured.out)


def test_the_names_are_there_in_other_words(hostile, capsys):
    main(COMMANDS["labels"])
    assert r"n\x1b]0;title\x07\x1b[2J\x1b[31m\nFORGED\rFORGED\x9b31m\u202e\u2028FORGED\x7f" in capsys.readouterr().out
