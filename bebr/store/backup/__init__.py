"""Copies of a database in another place, their return, and what is wrong with one."""
