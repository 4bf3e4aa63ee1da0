"""What the threads do to a collection: seals and merges, new codes, migration from one producer to another."""
