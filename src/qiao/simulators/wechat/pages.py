"""Pages of the simulated wallet, from its own templates."""

from functools import partial
from typing import Final

from qiao.simulators.kit import pages

page: Final = partial(pages.page, "qiao.simulators.wechat")
