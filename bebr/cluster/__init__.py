"""Collections in shards: which rows are in which, what a leaf holds, and the root that asks leaves for all of them.

A collection of n shards is n ordinary collections of a shared database (`bebr.cluster.names`). A leaf is a server that
takes some of them. A root speaks bebr.v1 to clients, as a server does, and has no rows.
"""
