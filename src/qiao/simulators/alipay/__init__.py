"""A simulated Alipay: its gateway, wallet and notifications, on loopback.

Written from the facts of Alipay's OpenAPI; it shares no code with Qiao's own channel.
"""

from qiao.simulators.alipay.credentials import App, Credentials, new_credentials
from qiao.simulators.alipay.simulator import Simulator

__all__ = ["App", "Credentials", "Simulator", "new_credentials"]
