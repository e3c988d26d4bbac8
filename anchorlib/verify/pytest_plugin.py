"""Run the cases as tests: pytest -p anchorlib.verify --backends oneflow,torch --devices cpu,cuda.

They are added to the tests that pytest finds; `-m parity` runs only the cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from anchorlib.errors import AnchorlibError
from anchorlib.verify import select
from anchorlib.verify.cases import Case
from anchorlib.verify.targets import Target, find_targets

_LINES = 20  # of a failure; `anchorlib verify --differences FILE` writes all


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `anchorlib verify`."""
    add = parser.getgroup("anchorlib", "the parity suite of anchorlib").addoption
    add("--backends", help="comma list of name or name:device: oneflow,torch:cuda (what is installed)")
    add("--devices", default="cpu", help="comma list of cpu and cuda, for backends without a device (cpu)")
    add("--parity-seed", type=int, default=0, help="seed for the generated inputs (default: 0)")
    add("--candidate", action="append", default=[], help="a fork's own, e.g. utils.loss:ComputeLoss; repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `parity` of the cases."""
    config.addinivalue_line("markers", "parity: a case of anchorlib.verify on one backend and device")


@pytest.hookimpl(tryfirst=True)  # so that -k and -m also select from these
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add one item for each case and target."""
    items += list(_items(session, config))


def _items(session: pytest.Session, config: pytest.Config) -> Iterator[pytest.Item]:
    try:
        candidates = config.getoption("--candidate")
        cases = select(config.getoption("--parity-seed"), candidates=candidates)
        for target in find_targets(config.getoption("--backends"), config.getoption("--devices"), own=not candidates):
            for case in cases:
                if case.runs_on(target):
                    name = f"{case.subject}[{target}-{case.number}-{case.label}]"
                    yield ParityItem.from_parent(
                        session, name=name, nodeid=f"anchorlib.verify::{name}", case=case, target=target
                    )
    except AnchorlibError as error:
        raise pytest.UsageError(f"anchorlib: {error}") from error


class ParityItem(pytest.Item):
    """A case on one backend and device."""

    def __init__(self, *, case: Case, target: Target, **options: Any) -> None:
        super().__init__(**options)
        self.case, self.target = case, target
        self.add_marker("parity")

    def runtest(self) -> None:
        """Fail with a line for each difference."""
        differences = self.case.check(self.target)
        if differences:
            raise ParityError(differences)

    def repr_failure(self, excinfo: Any, style: Any = None) -> Any:
        """Return the differences, because a traceback would end in this file."""
        if isinstance(excinfo.value, ParityError):
            lines = excinfo.value.args[0]
            more = [f"and {len(lines) - _LINES} more lines"] if len(lines) > _LINES else []
            return "\n".join([*lines[:_LINES], *more])
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, None, str]:
        """Return the headline of a failure."""
        return self.path, None, self.nodeid


class ParityError(Exception):
    """A case whose answers differ from the expected ones."""
