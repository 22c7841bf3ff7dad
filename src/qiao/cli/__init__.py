"""The command ``qiao``."""
