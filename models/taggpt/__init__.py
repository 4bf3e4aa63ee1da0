"""TagGPT: a language model names tags, a sentence encoder brings order into them (Li et al., arXiv 2304.03022).

Text fields of an item (title, caption, text read from a picture, ...) go into a prompt; a language model answers with
tags, several times. Of all answers the frequent tags stay, and those that mean the same are merged: that is the
*vocabulary*. An item then gets its tags in one of two ways. The *generative* tagger lets the model name tags freely and
carries them over to those of the vocabulary that are near (late matching); the *selective* one looks up the vocabulary
tags nearest to each text field and lets the model choose among these (early matching).

``prompts.py`` and ``replies.py`` what is asked and how answers are read, ``port.py`` the language model as an
interface, ``chat.py`` one over HTTP, ``replay.py`` answers kept in a file, ``phrases.py`` a stand-in without a model,
``matching.py`` range search and top-k by codes or by floats, ``vocabulary.py`` and ``taggers.py`` the method.

It makes no vectors, so it is no producer; it uses any producer of texts. What differs from the released code: one item
a prompt instead of a numbered batch; votes count in generative tagging; a tag is merged into one other at most; an item
without text fields gets no tags. The prompts are ours, in English. No result of the paper is claimed.
"""

from __future__ import annotations

from bebr.models.taggpt.chat import Chat
from bebr.models.taggpt.matching import Coded, Exact
from bebr.models.taggpt.phrases import KeyPhrases
from bebr.models.taggpt.port import LanguageModel, LanguageModelError
from bebr.models.taggpt.replay import Replay
from bebr.models.taggpt.taggers import Chosen, GenerativeTagger, SelectiveTagger
from bebr.models.taggpt.vocabulary import Vocabulary, build

__all__ = [
    "Chat",
    "Chosen",
    "Coded",
    "Exact",
    "GenerativeTagger",
    "KeyPhrases",
    "LanguageModel",
    "LanguageModelError",
    "Replay",
    "SelectiveTagger",
    "Vocabulary",
    "build",
]
