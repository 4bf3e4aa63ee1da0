"""SVG drawings to pixels."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt

from bebr.models.data.sources import MissingSource

__all__ = ["render"]


def render(svg: str, size: int) -> npt.NDArray[np.uint8]:
    """A drawing as uint8 ``[size, size, 4]`` RGBA, not premultiplied: as large as fits, its shape kept, in the middle.

    Fonts are left out, so that the pixels do not depend on what the machine has installed. Raises MissingSource naming
    what to install, ValueError where it cannot be drawn.
    """
    try:
        import resvg_py
        from PIL import Image
    except ImportError as error:
        raise MissingSource(f"drawings need resvg-py and pillow ({error}): pip install 'bebr[data]'") from error
    # Large first: a drawing's own shape is only known once it is drawn, and reduction is the better smoothing anyway.
    png = resvg_py.svg_to_bytes(svg_string=svg, width=2 * size, skip_system_fonts=True)
    with Image.open(io.BytesIO(bytes(png))) as drawn:
        picture = drawn.convert("RGBA")
    scale = size / max(picture.size)
    shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Premultiplied while it is reduced: the colour of clear pixels must not bleed into the edges.
    picture = picture.convert("RGBa").resize(shape, Image.Resampling.BOX).convert("RGBA")
    square = Image.new("RGBA", (size, size))
    square.paste(picture, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    pixels = np.array(square)
    pixels[pixels[..., 3] == 0] = 0
    return pixels
