"""Collections on disk: one SQL catalog and immutable segment files (`bebr.open`)."""

from bebr.store.database import Database

__all__ = ["Database"]
