"""Threads of a database: when files become one, and when a collection trains itself."""
