"""A cross-platform differential test harness for Python programs: the same bytes everywhere, or the reason why not."""

__version__ = "0.1.0"
