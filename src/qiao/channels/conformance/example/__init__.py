"""A worked example: the smallest channel that keeps every promise, and its harness.

"Toy" is nobody's payment service: JSON, signed with HMAC-SHA256. It has every capability, so that
the suite's own tests can break each promise once; read it before you write a channel of your own.
"""

from qiao.channels.conformance.example.channel import ToyChannel
from qiao.channels.conformance.example.harness import ToyHarness
from qiao.channels.conformance.example.wire import MANIFEST, ToySettings

__all__ = ["MANIFEST", "ToyChannel", "ToyHarness", "ToySettings"]
