"""A write from the caller to the commit, and what is true of a collection in memory."""
