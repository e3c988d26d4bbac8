"""Search the tracked text for phrases that readers stumble over, and name the better one."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOT_SEARCHED = ("tests/data/", "LICENSE", "tests/test_wording.py")

#: A phrase, as a regular expression without regard to case -> what to write instead.
BETTER = {
    r"whole numbers?": "integer",
    r"\b(is|are|was|be) no (number|file|size|list|model|pair|regular|folder|\(|utf|one|longer needed)": "is not a ...",
    r"\b(is|are) (?-i:none)\b": "is not, or name what is missing",
    r"\bTrue is none": "not bool",
    r"as good as none": "is ignored",
    r"in place of": "instead of",
    r"\bwholly": "completely, or atomically",
    r"same bits": "bit-identical",
    r"all or nothing": "atomically",
    r"put back": "rolled back, or restored",
    r"by lot\b": "at random",
    r"\banew\b": "again",
    r"house wording": "shared wording",
    r", too\b": "also, before the verb",
    r"\balone\b": "only, before the noun",
    r"\bbeside\b": "next to, or in addition to",
    r"all the same\b": "still, or nevertheless",
    r"\bwander": "random perturbation",
    r"\bpolish(?!=)": "refinement",
    r"a stranger'?s": "another user's",
    r"at an end\b": "ended",
    r"\bas said\b": "repeat the fact, or leave it out",
    r"\bthose there\b": "name them",
    r"where there is one": "if present",
    r"^\W*its options\.": "a sentence with a verb: Add the command's options to the parser.",
    r"wherever it": "name the place",
}
NEGATED = re.compile(r"there (is|are|was) no(ne)?\b", re.IGNORECASE)  # the one harmless use of a negated noun


def find_phrases(line):
    """Return the phrases of BETTER in a line, each with the better words."""
    line = NEGATED.sub("", line)
    found = ((re.search(pattern, line, re.IGNORECASE), better) for pattern, better in BETTER.items())
    return [f"{match[0].strip()!r}; better: {better}" for match, better in found if match]


def test_the_tracked_text_has_none_of_the_phrases():
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if git.returncode:
        pytest.skip("not a git checkout: without git, generated files cannot be told from tracked ones")
    hits = []
    for name in filter(None, git.stdout.split("\0")):
        path = ROOT / name
        if name.startswith(NOT_SEARCHED) or not path.is_file() or b"\0" in path.read_bytes():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            hits += [f"{name}:{number}: {phrase}" for phrase in find_phrases(line)]
    assert not hits, f"{len(hits)} phrases:\n" + "\n".join(hits)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a list of whole numbers", True),
        ("a side that is no number", True),
        ("there is no file of that name", False),
        ("True is none", True),
        ("return x if y is None else z", False),
        ("Not one, too.", True),
        ("differential_evolution(f, polish=False)", False),
        ("the result is bit-identical", False),
    ],
)
def test_a_phrase_is_found_and_its_harmless_neighbours_are_not(line, found):
    assert bool(find_phrases(line)) is found
