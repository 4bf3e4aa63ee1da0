"""Full text of payload fields: an inverted index of each part of a snapshot, and BM25 over all of them. What it means
is said by `bebr.store.text.words`: whatever finds rows faster equals a count of the words of the live payloads."""
