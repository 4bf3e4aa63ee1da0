"""bebr where other libraries expect a vector store, an index or a helper: one module a library, each with an extra of
its name (docs/integrations.md).

Nothing is imported here, so that each module needs its own library only.
"""
