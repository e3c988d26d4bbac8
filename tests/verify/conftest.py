"""The fork has tests of its own, which run where it stands alone."""

collect_ignore = ["fork"]
