"""Data to train and measure producers on: pictures with names, texts with tags and topics, judged queries, scenes.

============  ====================================================================  ==========================
set           content                                                               from
============  ====================================================================  ==========================
emoji         1,586 emoji in four drawing styles, with names, keywords and groups   npm packages, fetched once
scenes        emoji on textured grounds: exact masks, boxes, counts, captions       made of ``emoji`` by a seed
openclipart   8,000 drawings with titles, keywords and categories                   Debian: openclipart-svg
debian        synopsis, description and debtags of each package                     apt's lists
wordnet       synsets: words, definition, examples, pointers                        Debian: wordnet-base
relevance     documents, queries and judgements (Cranfield, CISI, any BEIR folder)  a folder of yours
============  ====================================================================  ==========================

``python -m bebr.models.data NAME`` builds a set, checks it and says what it holds. What is built lies in
``$BEBR_DATA``, else ``~/.cache/bebr``. ``split`` divides any of them the same way on every machine.
"""

from __future__ import annotations

from bebr.models.data.sources import MissingSource, folder
from bebr.models.data.splits import split

__all__ = ["MissingSource", "folder", "split"]
