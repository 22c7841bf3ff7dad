"""The rules as an operator writes them: a decision table, fees, and how to choose among several.

A table is read from its first row on. A cell is a unary expression of the ZEN language, which
zen-engine evaluates: https://docs.gorules.io/developers/expressions. Each is compiled once, when
the rules are read; what is wrong with one is told with its row and its column.
"""

from enum import StrEnum
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from qiao.channels.requests import Product
from qiao.domain.errors import InvalidInput
from qiao.domain.fees import Fee
from qiao.engine.fee_terms import Currency, Terms
from qiao.engine.routing.cells import Cell, CompiledCell, compile_cell
from qiao.engine.versions import read_content

Text = Annotated[str, Meta(min_length=1, max_length=100)]


class Strategy(StrEnum):
    """How the accounts of a row are put in order. Ties keep the row's own order."""

    PRIORITY = "priority"
    """As the row lists them."""
    SPLIT = "split"
    """By weight, from a hash of the payment's id."""
    COST = "cost"
    """The lowest fee first."""
    SUCCESS = "success"
    """The highest measured success rate first."""
    LATENCY = "latency"
    """The quickest to answer first."""
    VALUE = "value"
    """The highest expectation first: success rate times what is left after the fee."""
    BANDIT = "bandit"
    """Thompson sampling of the success rate, with a floor of exploration."""


MEASURED: Final = frozenset({Strategy.SUCCESS, Strategy.LATENCY, Strategy.VALUE, Strategy.BANDIT})
"""Strategies that need statistics."""


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row: when every cell of ``when`` holds, these accounts in this order.

    Each by its name or id, or all those of a channel, by their priority, as ``channel:wechat``.
    """

    accounts: Annotated[list[Text], Meta(min_length=1, max_length=50)]
    when: Annotated[dict[Text, Cell], Meta(max_length=20)] = {}
    name: Annotated[str, Meta(max_length=100)] = ""
    weights: Annotated[list[Annotated[int, Meta(ge=0, le=1_000_000)]], Meta(max_length=50)] = []
    strategy: Strategy | None = None


class FeeRow(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account takes, for one product or for those without a line of their own."""

    account: Text
    product: Product | None = None
    currency: Currency = "CNY"


class Breaker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an account is taken out: so large a share of so many attempts in so many seconds."""

    window_seconds: Annotated[int, Meta(ge=10, le=600)] = 60
    min_attempts: Annotated[int, Meta(ge=1, le=10_000)] = 10
    failure_percent: Annotated[int, Meta(ge=1, le=100)] = 50
    open_seconds: Annotated[int, Meta(ge=1, le=300)] = 15


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole set of rules. ``attempts``: how many accounts one request may try, in all."""

    rows: Annotated[list[Row], Meta(max_length=200)] = []
    fees: Annotated[list[FeeRow], Meta(max_length=500)] = []
    strategy: Strategy = Strategy.PRIORITY
    otherwise: Annotated[
        str, Meta(pattern="^(any|refuse)$", description="what no row applies to: any, refuse")
    ] = "any"
    attempts: Annotated[int, Meta(ge=1, le=5)] = 2
    explore_percent: Annotated[int, Meta(ge=1, le=50)] = 5
    time_zone: Text = "Asia/Shanghai"
    breaker: Breaker = Breaker()
    inherit: bool = False
    """The merchant has no rules of its own any more: the platform's count."""


NO_RULES: Final = Rules(attempts=1)
"""Without any rules: the account of the lowest priority, and never another by itself."""


class CompiledRow:
    """A row whose cells are ready to be asked."""

    def __init__(self, number: int, row: Row, cells: list[CompiledCell]) -> None:
        self.number = number
        self.row = row
        self._cells = cells

    def mismatch(self, inputs: dict[str, Any]) -> str | None:
        """The column that speaks against it; None when the row matches."""
        return next((cell.column for cell in self._cells if not cell.holds(inputs)), None)


class CompiledRules:
    """Rules ready to be asked. Raises InvalidInput naming the row and the column at fault."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        try:
            self.zone = ZoneInfo(rules.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidInput(
                "there is no such time zone",
                field="time_zone",
                remedy="name one of the IANA database, such as Asia/Shanghai",
            ) from None
        if rules.inherit and (rules.rows or rules.fees):
            raise InvalidInput(
                "rules that inherit have none of their own",
                field="inherit",
                remedy="leave out inherit, or rows and fees",
            )
        self.rows = [_compile(number, row) for number, row in enumerate(rules.rows, start=1)]
        self._fees: dict[tuple[str, Product | None, str], Fee] = {}
        for number, line in enumerate(rules.fees, start=1):
            key = (line.account, line.product, line.currency)
            if key in self._fees:
                raise InvalidInput(
                    f"fee {number}: the account has such a line already",
                    field=f"fees[{number - 1}]",
                    remedy="give each account one line for a product and currency",
                )
            self._fees[key] = line.fee

    def fee(self, names: tuple[str, ...], product: Product, currency: str) -> Fee | None:
        """Of an account that goes by ``names``; None when no line tells it."""
        for wanted in (product, None):
            for name in names:
                if (found := self._fees.get((name, wanted, currency))) is not None:
                    return found
        return None

    @property
    def measured(self) -> bool:
        """Whether any choice asks for statistics."""
        used = {self.rules.strategy, *(row.strategy for row in self.rules.rows)}
        return bool(used & MEASURED)


def read_rules(given: object) -> Rules:
    """Rules from what a file or a request holds. Raises InvalidInput naming what is wrong."""
    rules = read_content(given, Rules, name="rules", page="docs/routing.md")
    CompiledRules(rules)
    return rules


def _compile(number: int, row: Row) -> CompiledRow:
    title = f"row {number} ({row.name})" if row.name else f"row {number}"
    field = f"rows[{number - 1}]"
    if row.weights and (len(row.weights) != len(row.accounts) or not any(row.weights)):
        raise InvalidInput(
            f"{title}, column weights: not one weight above zero for each account",
            field=f"{field}.weights",
            remedy=f"give {len(row.accounts)} whole numbers, as many as there are accounts",
        )
    if len(set(row.accounts)) != len(row.accounts):
        raise InvalidInput(
            f"{title}, column accounts: one stands there twice",
            field=f"{field}.accounts",
            remedy="name each account once",
        )
    cells = []
    for column, cell in row.when.items():
        try:
            cells.append(compile_cell(column, cell))
        except ValueError as error:
            raise InvalidInput(
                f"{title}, column {column}: {error}",
                field=f"{field}.when.{column}",
                remedy="write a cell such as >= 10000, [9..17], qr, or a list of words",
            ) from None
    return CompiledRow(number, row, cells)
