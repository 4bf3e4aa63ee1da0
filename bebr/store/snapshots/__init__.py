"""What a search sees: parts, the rows that live in them, and what a filter lets through."""
