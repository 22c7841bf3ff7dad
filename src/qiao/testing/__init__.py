"""Fakes, fixtures and the fault-injecting transport, for Qiao's own tests and for others'."""
