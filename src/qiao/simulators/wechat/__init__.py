"""A simulated WeChat Pay (API v3): its API, wallet and notifications, on loopback.

Written from the facts of WeChat Pay's API v3; it shares no code with Qiao's own channel.
"""

from qiao.simulators.wechat.credentials import Credentials, Merchant, new_credentials
from qiao.simulators.wechat.simulator import Simulator

__all__ = ["Credentials", "Merchant", "Simulator", "new_credentials"]
