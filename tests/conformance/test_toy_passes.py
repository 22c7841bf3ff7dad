"""The example channel keeps every promise, and leaves none out."""

from qiao.channels.conformance import ChannelConformance
from qiao.channels.conformance.example import ToyHarness


class TestToy(ChannelConformance):
    harness = ToyHarness
