"""The errors of bebr that no builtin exception names (docs/architecture.md, "Errors").

Bad arguments are ``ValueError``, unknown names ``KeyError``; both mean the same locally and over gRPC.
"""


class Error(Exception):
    """Base of the errors below."""


class IncompatibleModel(Error):
    """A query's model is not the model of the codes it was to search, nor compatible with it."""


class CorruptFile(Error):
    """A file is damaged, truncated, foreign or newer than this build reads. The message names path, section and
    checksums."""


class Cancelled(Error):
    """The search was stopped by the flag that it was given."""


class LimitExceeded(Error):
    """A limit (message size, k, batch, memory, disk) would be passed; nothing was written."""
