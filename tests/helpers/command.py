"""The command line, run in this process."""

from anchorlib.cli import main


def run(*arguments, capsys):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err
