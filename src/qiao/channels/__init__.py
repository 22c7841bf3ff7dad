"""Channels: translators between the domain and each channel's wire. Sans-I/O.

``interface`` is what a channel promises, ``wire`` what it exchanges with the other side,
``requests`` what it is asked; each folder beside them is one channel.
"""
