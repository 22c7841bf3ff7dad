"""Starts a new channel: ``scaffold_channel`` is what ``qiao channel new NAME`` calls."""

from qiao.scaffold.channel import entry_point, scaffold_channel

__all__ = ["entry_point", "scaffold_channel"]
