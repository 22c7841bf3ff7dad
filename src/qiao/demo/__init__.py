"""``qiao demo``: the platform, simulated channels and a small shop in one terminal."""
