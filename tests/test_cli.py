import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run
from PIL import Image

from anchorlib import backends, fit_anchors, read_boxes, score
from anchorlib.cli import main
from anchorlib.modelfiles import read_anchors

ROOT = Path(__file__).parent.parent
BCCD = str(ROOT / "tests/data/bccd")


def test_fit_prints_a_table_and_ends_with_0(capsys):
    code, out, err = run("fit", BCCD, "--split", "all", capsys=capsys)
    assert (code, err) == (0, "")
    for told in (
        "364 images, 4 888 boxes",
        "COCO's",
        "best possible recall",
        "average IoU",
        "layer",
        "a good fit",
        "zero area",
    ):
        assert told in out


def test_fit_in_json_is_the_fit_of_the_library(backend, capsys):
    options = [
        "--method",
        "evolve",
        "--generations",
        "30",
        "--seed",
        "4",
        "--json",
        "--backend",
        backend.name,
    ]
    code, out, err = run("fit", BCCD, *options, capsys=capsys)
    result = json.loads(out)
    boxes_wh = read_boxes(BCCD).wh
    expected = fit_anchors(boxes_wh, 9, method="evolve", generations=30, seed=4)
    assert (code, err) == (0, "")
    assert result["anchors"] == expected.anchors.tolist()  # to the last bit
    assert (result["bpr"], result["aat"]) == (expected.score.bpr, expected.score.aat)
    assert (result["fitness"], result["avg_iou"]) == (expected.score.fitness, expected.score.avg_iou)
    assert (result["n_boxes"], result["method"], result["seed"]) == (len(boxes_wh), "evolve", 4)
    assert result["backend"] == f"{backend.name}:cpu"
    assert result["problems"] == {"zero area": 1}
    assert result["seconds"] > 0


@pytest.mark.parametrize("suffix", [".yaml", ".cfg", ".py", ".json"])
def test_what_fit_writes_check_reads(tmp_path, suffix, capsys):
    path = str(tmp_path / f"anchors{suffix}")
    _, out, _ = run("fit", BCCD, "--json", "--out", path, capsys=capsys)
    fitted = json.loads(out)
    code, out, _ = run("check", BCCD, "--anchors", path, "--json", capsys=capsys)
    checked = json.loads(out)
    assert code == 0
    assert fitted["written"].pop("digits") == 1
    assert {k: checked[k] for k in ("anchors", "bpr", "aat", "fitness", "avg_iou")} == fitted["written"]
    assert all(abs(fitted[k] - checked[k]) <= 1e-4 for k in ("bpr", "fitness", "avg_iou"))


def test_a_poor_fit_ends_with_1(tmp_path, capsys):
    path = tmp_path / "anchors.json"
    path.write_text("[[600, 600]]")
    code, out, _ = run("check", BCCD, "--anchors", str(path), capsys=capsys)
    assert code == 1
    assert "a poor fit" in out
    assert score(read_boxes(BCCD).wh, np.asarray([[600.0, 600.0]])).bpr < 0.98


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
        (["check", BCCD, "--anchors", BCCD], "unknown suffix"),
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
    assert "pip install 'anchorlib[torch]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_backends_tells_what_is_there(backend, capsys):
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


def test_non_square_input_scales_by_the_smaller_ratio(capsys):
    _, wide, _ = run("fit", BCCD, "--method", "kmeans", "--json", "--imgsz", "640", "240", capsys=capsys)
    _, half, _ = run("fit", BCCD, "--method", "kmeans", "--json", "--imgsz", "320", capsys=capsys)
    assert json.loads(wide)["anchors"] == json.loads(half)["anchors"]


def test_counts_a_layer_fixed_anchors_and_least_sides(capsys):
    options = ["--n", "2", "3", "--fixed", "85", "90", "--min-side", "30", "60", "--json"]
    _, out, _ = run("fit", BCCD, *options, capsys=capsys)
    anchors = np.asarray(json.loads(out)["anchors"])
    assert anchors.shape == (5, 2)
    assert [85, 90] in anchors.tolist()
    assert (anchors >= 30).all()
    assert (anchors[2:] >= 60).all()
    _, out, _ = run("fit", BCCD, *options[:-1], capsys=capsys)
    assert "\n  1 " in out
    assert "\n  2 " in out
    assert "\n  3 " not in out


def test_anchors_that_are_already_better_are_kept_and_the_report_says_so(tmp_path, capsys):
    path = str(tmp_path / "best.json")
    run("fit", BCCD, "--out", path, capsys=capsys)
    _, out, _ = run("fit", BCCD, "--method", "evolve", "--generations", "0", "--anchors", path, capsys=capsys)
    assert "No better anchors were found; the given anchors are kept." in out


def test_an_option_that_a_method_does_not_have_is_refused(capsys):
    code, _, err = run("fit", BCCD, "--method", "kmeans", "--time-budget", "1", capsys=capsys)
    assert code == 2
    assert "time_budget has no meaning for method 'kmeans'" in err


def test_a_fit_that_is_poor_ends_with_1(capsys):
    code, out, _ = run("fit", BCCD, "--n", "1", "--thr", "1.05", "--method", "kmeans", capsys=capsys)
    assert code == 1
    assert "1 anchor, a poor fit" in out


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["fti", BCCD], "fit"),
        (["fit", BCCD, "--metod", "kmeans"], "--method"),
        (["fit", "--method=direkt", "x"], "direct"),
    ],
)
def test_a_wrong_word_is_answered_with_the_one_meant(arguments, meant, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"\nDid you mean {meant}?\n")


def test_a_word_like_no_other_is_answered_without_a_guess(capsys):
    with pytest.raises(SystemExit):
        main(["fit", BCCD, "--qqq"])
    assert "Did you mean" not in capsys.readouterr().err


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_gets_its_completion_script(shell, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--print-completion", shell])
    assert ended.value.code == 0
    assert "anchorlib" in capsys.readouterr().out


def test_bash_completes_a_command_and_an_option(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--print-completion", "bash"])
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    typed = (
        f"source {script}; COMP_WORDS=(anchorlib fit --meth); COMP_CWORD=2; _shtab_anchorlib; echo ${{COMPREPLY[@]}}"
    )
    answer = subprocess.run(["bash", "-c", typed], capture_output=True, text=True)
    assert answer.stdout.split() == ["--method"]


def test_every_command_has_an_example(capsys):
    from anchorlib.cli import COMMANDS

    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command.__name__.rpartition(".")[2].replace("_", "-"), "--help"])
        assert "example: anchorlib " in capsys.readouterr().out


MODEL = """\
# ours
nc: 3
anchors:
  - [10,13, 16,30]  # P4
  - [59,119, 116,90]  # P5
head: [[[4, 6], 1, Detect, [nc, anchors]]]
"""


def test_fit_puts_the_anchors_into_a_model_file_with_as_many_as_it_has(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(MODEL)
    code, dry, err = run("fit", BCCD, "--out", "m.yaml", "--dry-run", capsys=capsys)
    assert (code, err) == (0, "")
    assert Path("m.yaml").read_text() == MODEL
    assert "before  fitted  written" in dry
    assert "\n-  - [10,13, 16,30]  # P4\n" in dry
    assert dry.endswith("Nothing was written: --dry-run.\n")
    code, out, _ = run("fit", BCCD, "--out", "m.yaml", capsys=capsys)
    assert (code, out.splitlines()[-1]) == (0, "Wrote m.yaml.")
    now = Path("m.yaml").read_text()
    added = [line[1:] for line in dry.splitlines() if line.startswith("+ ")]
    assert len(added) == 2
    assert now.splitlines() == [*MODEL.splitlines()[:3], *added, MODEL.splitlines()[5]]
    _, out, _ = run("fit", BCCD, "--out", "m.yaml", "--dry-run", "--json", capsys=capsys)
    result = json.loads(out)
    assert len(result["anchors"]) == 4
    assert result["diff"] == "" or result["fitness"] > json.loads(out)["written"]["fitness"] - 1e-4


def test_the_number_of_anchors_is_parted_over_the_layers_of_the_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(MODEL.replace("- [10,13, 16,30]  # P4\n  - [59,119, 116,90]  # P5", "[[1,2], [3,4]]"))
    fast = ["--method", "kmeans", "--out", "m.yaml"]
    assert run("fit", BCCD, "--n", "6", *fast, capsys=capsys)[0] == 0
    assert [len(layer) for layer in read_anchors("m.yaml")] == [3, 3]
    assert run("fit", BCCD, "--n", "2", "2", *fast, capsys=capsys)[0] == 0
    assert [len(layer) for layer in read_anchors("m.yaml")] == [2, 2]
    for n, message in (
        (["5"], "a multiple of 2"),
        (["1", "2", "3"], "one number for each"),
        (["1", "2"], "is not changed"),
    ):
        before = Path("m.yaml").read_text()
        code, out, err = run("fit", BCCD, "--n", *n, *fast, capsys=capsys)
        assert (code, out) == (2, "")  # before the fit
        assert message in err
        assert Path("m.yaml").read_text() == before


def test_a_dry_run_of_a_new_file_shows_all_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, out, _ = run("fit", BCCD, "--n", "3", "--out", "a.cfg", "--dry-run", "--json", capsys=capsys)
    result = json.loads(out)
    assert result["diff"].startswith("--- a.cfg\n+++ a.cfg\n@@ -0,0 +1,4 @@\n+[yolo]\n+mask = 0,1,2\n+anchors = ")
    assert list(tmp_path.iterdir()) == []


def test_fixed_and_least_sides_are_written_as_they_were_asked_for(tmp_path, capsys):
    path = str(tmp_path / "a.json")
    options = ["--n", "2", "3", "--fixed", "85.123", "90.5", "--min-side", "30.5", "110.0003", "--json", "--out", path]
    run("fit", BCCD, *options, capsys=capsys)
    anchors = np.concatenate(read_anchors(path))
    assert np.float32([85.123, 90.5]).tolist() in anchors.tolist()
    assert (anchors >= 30.5).all()
    assert anchors[2:].min() == np.float32(110.0003)  # the bound itself, which a rounded side would break


def test_anchors_that_are_kept_are_written_with_all_their_digits(tmp_path, capsys):
    path = tmp_path / "a.json"
    path.write_text("[[40.123456, 38.5], [110.25, 99.875]]")
    options = ["--method", "evolve", "--generations", "0", "--out", str(path)]
    _, out, _ = run("fit", BCCD, *options, capsys=capsys)
    assert "are kept." in out
    assert out.endswith("a.json already contains these anchors.\n")
    assert path.read_text() == "[[40.123456, 38.5], [110.25, 99.875]]"


def test_a_second_fit_changes_nothing_for_no_gain(tmp_path, capsys):
    path = tmp_path / "a.yaml"
    run("fit", BCCD, "--out", str(path), capsys=capsys)
    first = path.read_text()
    _, out, _ = run("fit", BCCD, "--out", str(path), capsys=capsys)
    assert "The file's anchors score the same (within 0.0001); the file is unchanged.\n" in out
    assert out.endswith("a.yaml already contains these anchors.\n")
    assert path.read_text() == first
    _, out, _ = run("fit", BCCD, "--out", str(path), "--objective", "iou", capsys=capsys)  # that asks for others
    assert out.endswith(f"Wrote {path}.\n")
    assert path.read_text() != first


def test_anchors_of_a_region_are_rounded_in_its_cells_and_stay_one_layer(tmp_path, capsys):
    path = tmp_path / "v2.cfg"
    path.write_text("[region]\nanchors = 1,1, 2,2, 3,3, 4,4, 5,5, 6,6\nnum = 6\n")
    _, out, _ = run("fit", BCCD, "--out", str(path), "--json", capsys=capsys)
    written = json.loads(out)["written"]
    line = path.read_text().splitlines()[1]
    numbers = [side.strip() for side in line.partition("=")[2].split(",")]
    assert max(len(side.partition(".")[2]) for side in numbers) == written["digits"] == 2
    assert [32 * float(side) for side in numbers] == pytest.approx(np.ravel(written["anchors"]))
    assert [len(layer) for layer in read_anchors(path)] == [6]


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


def test_a_cache_and_workers_change_nothing(tmp_path, capsys):
    plain = run("fit", BCCD, "--method", "kmeans", "--json", capsys=capsys)[1]
    kept = ["--cache", str(tmp_path / "labels.npz"), "--workers", "2"]
    for _ in range(2):
        code, out, _ = run("fit", BCCD, "--method", "kmeans", "--json", *kept, capsys=capsys)
        assert (code, json.loads(out)["anchors"]) == (0, json.loads(plain)["anchors"])
    assert run("check-labels", BCCD, *kept, capsys=capsys)[0] == 0
    assert run("fit", BCCD, "--workers", "0", capsys=capsys)[0] == 2


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


def test_numbers_that_swallow_the_data_set_are_explained(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "--n", "9", BCCD])
    assert capsys.readouterr().err.endswith("Put DATA or FILE first, before options that take several numbers.\n")


def test_nothing_asked_is_answered_with_the_commands(capsys):
    assert main([]) == 2
    assert "check-labels" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_named(tmp_path, capsys):
    code, _, err = run("show", str(tmp_path / "x.pt"), capsys=capsys)
    assert (code, err) == (2, f"anchorlib: {tmp_path / 'x.pt'}: No such file or directory.\n")
