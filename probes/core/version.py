"""The version of the package, for records, caches and ``--version``."""

__version__ = "0.1.0"
