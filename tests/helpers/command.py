"""Run the command line in this process."""

from anchorlib.cli import main


def run(*arguments, capsys):
    """Return the exit code and what was printed to stdout and stderr."""
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err
