"""Where bytes lie: folders, object stores, locks, and the sections of a segment file that are no codes."""
