"""Test the completion scripts in the shells themselves: commands, options, choices and file names."""

import shlex
import shutil
import subprocess

import pytest

from anchorlib.cli import main

#: typed -> what the shell offers; the folder has data.yaml, model.yaml and `my model.yaml`
TYPED = {
    "anchorlib fi": {"fit"},
    "anchorlib fit dat": {"data.yaml"},
    "anchorlib fit model.yaml dat": {"data.yaml"},  # several data sets are read as one
    "anchorlib fit data.yaml --meth": {"--method"},
    "anchorlib fit data.yaml --method e": {"evolve"},
    "anchorlib fit data.yaml --out m": {"model.yaml", "my model.yaml"},
    "anchorlib check data.yaml --anchors mo": {"model.yaml"},
    "anchorlib curve data.yaml --report mo": {"model.yaml"},
    "anchorlib show mo": {"model.yaml"},
}

BASH = """
source {script}
complete -p anchorlib | grep -q -- "-F _shtab_anchorlib"
COMP_WORDS=({typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_shtab_anchorlib anchorlib "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

FISH = "source {script}; complete -C '{typed}' | cut -f 1"

#: zsh completes in an interactive shell only; the widget prints the line after the completion
ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "autoload -Uz compinit; compinit -u -D; eval \\"\\$(<{script})\\"; cd {folder}"
zpty -w shell "show() {{ zle complete-word; print -r -- \\"<<\\$BUFFER>>\\" }}"
zpty -w shell "zle -N show; bindkey '^I' show; echo rea''dy"
zpty -r shell out '*ready*'
for typed in {typed}; do
    zpty -n -w shell "$typed"$'\\t'
    zpty -r shell out '*<<*>>*'
    print -r -- "${{${{out##*<<}}%%>>*}}"
    zpty -n -w shell $'\\x15'
done
zpty -d shell
"""


@pytest.fixture
def offered(tmp_path, capsys):
    """Return the function that returns what a shell offers for what was typed."""
    for name in ("data.yaml", "model.yaml", "my model.yaml"):
        (tmp_path / name).touch()

    def ask(shell, typed):
        if not shutil.which(shell):
            pytest.skip(f"{shell} is not installed; as root on Debian, ci/programs installs it")
        with pytest.raises(SystemExit) as ended:
            main(["--print-completion", shell])
        assert ended.value.code == 0
        script = tmp_path / "completion"
        script.write_text(capsys.readouterr().out)
        code = {"bash": BASH, "fish": FISH, "zsh": ZSH}[shell].format(script=script, typed=typed, folder=tmp_path)
        no_start_up = {"bash": ["--norc"], "fish": ["--no-config"], "zsh": ["-f"]}[shell]
        answer = subprocess.run(
            [shell, *no_start_up, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=30
        )
        assert answer.stderr == ""
        return answer.stdout

    return ask


@pytest.mark.parametrize("typed", TYPED)
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_bash_and_fish_complete_commands_options_choices_and_file_names(offered, shell, typed):
    assert set(offered(shell, typed).splitlines()) == TYPED[typed]


def test_zsh_completes_commands_options_choices_and_file_names(offered):
    one = {typed: min(expected) for typed, expected in TYPED.items() if len(expected) == 1}  # zsh lists several
    lines = offered("zsh", " ".join(map(shlex.quote, one))).splitlines()
    assert lines == [f"{typed.rpartition(' ')[0]} {expected} " for typed, expected in one.items()]


def test_tcsh_gets_a_script(capsys):
    with pytest.raises(SystemExit):
        main(["--print-completion", "tcsh"])
    assert "complete anchorlib" in capsys.readouterr().out
