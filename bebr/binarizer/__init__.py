"""What a code means: the model, its configuration, codes, factors and the maps between versions."""

from bebr.binarizer.binarizer import Binarizer

__all__ = ["Binarizer"]
