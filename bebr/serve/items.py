"""Items to embed, on their way to a server: texts, pictures, pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bebr.errors import LimitExceeded
from bebr.v1 import bebr_pb2 as pb

Picture = Path | bytes
Item = str | Picture | tuple[Picture, str]

_PIECE_BYTES = 4 << 20  # a large call is sent in pieces, so that others' come between
_PIECE_ITEMS = 256
_OVERHEAD = 16  # of an item in a message


def embed_requests(items: Sequence[Item], limits: pb.Limits) -> Iterator[pb.EmbedRequest]:
    """Requests of a size that the server takes. ``ValueError`` naming the item that is of no kind; picture files are
    read as they are sent."""
    if isinstance(items, str | bytes | Path) or not isinstance(items, Sequence):
        raise ValueError(f"items: got one {type(items).__name__}, wanted a sequence of texts, pictures or pairs")
    if not items:
        raise ValueError("items is empty: want at least one text, picture or pair")
    request, room = pb.EmbedRequest(), _PIECE_BYTES
    first = _kind(items[0])
    for position, item in enumerate(items):
        if _kind(item) != first:  # a text and a picture in one message would be a pair
            raise ValueError(f"items[{position}] is {_kind(item)}, items[0] is {first}: want one kind a call")
        picture, text = _parts(item, f"items[{position}]")
        size = _OVERHEAD + len(picture or b"") + len((text or "").encode())
        if size > limits.message_bytes - 4096:
            raise LimitExceeded(
                f"items[{position}] has {size} bytes: this server takes messages of {limits.message_bytes}"
            )
        count = max(len(request.texts), len(request.images))
        if count and (size > room or count >= min(_PIECE_ITEMS, limits.queries)):
            yield request
            request, room = pb.EmbedRequest(), _PIECE_BYTES
        room -= size
        if picture is not None:
            request.images.append(picture)
        if text is not None:
            request.texts.append(text)
    yield request


def _kind(item: Item) -> str:
    return "a text" if isinstance(item, str) else "a pair" if isinstance(item, tuple) else "a picture"


def _parts(item: Item, name: str) -> tuple[bytes | None, str | None]:
    match item:
        case str():
            return None, item
        case (Path() | bytes()) as picture, str() as text:
            return _bytes(picture), text
        case Path() | bytes():
            return _bytes(item), None
    raise ValueError(
        f"{name}: got {type(item).__name__}, wanted a str, a picture (pathlib.Path or bytes) or a tuple (picture, str)"
    )


def _bytes(picture: Picture) -> bytes:
    return picture if isinstance(picture, bytes) else picture.read_bytes()
