"""The other side of each wire, honest: it verifies, refuses and notifies as the channel does.

A simulator never imports a channel and shares no code that signs or parses with one, so that one
mistake cannot hide the other.
"""
