"""Drives a channel's operations, async or blocking. The one place that maps failures."""
