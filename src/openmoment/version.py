"""The package's version, which files say that we write."""

__version__ = "0.1.0"
