"""Ignore the fork's own tests: they run in its own folder."""

collect_ignore = ["fork"]
