"""Sizes of networks, and of those that read pictures in square patches: what ``config.json`` files share. No torch
here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, TypeVar

__all__ = ["NetworkConfig", "PatchConfig"]

C = TypeVar("C", bound="NetworkConfig")


@dataclass(frozen=True)
class NetworkConfig:
    """Whole numbers are at least 1, or at least 0 where ``absent`` names them; ValueError naming the size that is
    not."""

    absent: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind, least = getattr(self, field.name), type(field.default), 0 if field.name in self.absent else 1
            if kind is int and (type(value) is not int or value < least):
                raise ValueError(f"{field.name}: got {value!r}, wanted a whole number of at least {least}")
            if kind is bool and type(value) is not bool:
                raise ValueError(f"{field.name}: got {value!r}, wanted true or false")

    def check_multiple(self, name: str, of: str) -> None:
        """ValueError unless the size ``name`` is a multiple of the size ``of``."""
        got, part = getattr(self, name), getattr(self, of)
        if got % part:
            raise ValueError(f"{name}: got {got}, wanted a multiple of {of}, {part}")

    def to_json(self) -> dict[str, Any]:
        """What ``config.json`` holds."""
        return asdict(self)

    @classmethod
    def from_json(cls: type[C], raw: Mapping[str, Any]) -> C:
        """Read ``config.json``. ValueError naming a size that is missing or is not one."""
        missing = [field.name for field in fields(cls) if field.name not in raw]
        if missing:
            raise ValueError(f"config.json: says no {', '.join(missing)}")
        return cls(**{field.name: raw[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class PatchConfig(NetworkConfig):
    """Pictures are ``image_size`` pixels square, cut into squares of ``patch_size``."""

    image_size: int = 224
    patch_size: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_multiple("image_size", "patch_size")

    @property
    def across(self) -> int:
        """Patches in a row of a picture."""
        return self.image_size // self.patch_size

    @property
    def patches(self) -> int:
        """Patches of a picture."""
        return self.across**2
