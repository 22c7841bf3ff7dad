"""Routing: which channel account takes an attempt, and whether another may after it failed."""
