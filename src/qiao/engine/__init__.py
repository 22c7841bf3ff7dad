"""The use cases: accept, attempt, settle, close, refund, notify, deliver.

Each is a function that takes the ``Engine`` (what it works with) and a ``Scope`` (for whom).
"""
