"""SAM (Kirillov et al., arXiv 2304.02643), the segmenter of the paper: from a file of it to masks for points, a box or
everything.

``config.py`` sizes and keys, ``encoder.py`` a picture to its map, ``decoder.py`` prompts and a map to masks,
``producer.py`` the network with its file, ``segmenter.py`` the port. Nothing here trains it.
"""
