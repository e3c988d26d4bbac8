"""Log the lines that users of YOLOv5 look for, so that they are seen once however logging is configured."""

from __future__ import annotations

import logging
import sys
from typing import Optional

LOGGER = logging.getLogger("anchorlib")


def get_logger() -> logging.Logger:
    """Return the logger "anchorlib", set up so that its INFO lines are seen.

    The forks show their own lines at any level of the root logger, and so does this logger. An application that does
    not want them sets the level of this logger: `logging.getLogger("anchorlib").setLevel(logging.WARNING)`.
    """
    if LOGGER.level == logging.NOTSET and not LOGGER.isEnabledFor(logging.INFO):
        LOGGER.setLevel(logging.INFO)
    if not any(isinstance(handler, _UnseenHandler) for handler in LOGGER.handlers):
        LOGGER.addHandler(_UnseenHandler())
    return LOGGER


class _UnseenHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic from Python 3.11 on
    """Write to standard error the records that no handler of the application takes.

    The handlers are looked up for each record: an application may configure logging after the first line.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless another handler takes it."""
        if not self._is_seen(record):
            self.stream = sys.stderr  # of this moment, as it may have been replaced
            super().emit(record)

    def _is_seen(self, record: logging.LogRecord) -> bool:
        logger: Optional[logging.Logger] = LOGGER
        while logger is not None:
            for handler in logger.handlers:
                is_other = handler is not self and not isinstance(handler, logging.NullHandler)
                if is_other and record.levelno >= handler.level:
                    return True
            logger = logger.parent if logger.propagate else None
        return False
