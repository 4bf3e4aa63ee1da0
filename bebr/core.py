"""The C++ extension. Modules of bebr import it from here: import-linter takes an import of ``bebr._core`` for one of
the root, which nothing else inside bebr may import."""

from bebr._core import *
