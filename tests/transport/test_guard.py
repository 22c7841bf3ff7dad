"""Addresses that merchants give: what is refused, and that what was checked is connected to."""

import ipaddress
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from qiao.channels.wire import HttpRequest, HttpResponse
from qiao.domain.deadlines import deadline
from qiao.domain.errors import InvalidInput
from qiao.domain.outcomes import NotSent, Unknown
from qiao.transport.asynchronous import AsyncTransport
from qiao.transport.blocking import BlockingTransport
from qiao.transport.guard import is_public, read_networks

HERE = read_networks("127.0.0.1/32", field="x")


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.254",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a01:203",
        "64:ff9b:1::a01:203",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "2002:7f00:1::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ],
)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "99.255.255.255", "2606:4700::1111"])
def test_what_is_public(address: str) -> None:
    assert is_public(address)


def test_every_private_network_of_the_registry_is_refused_at_both_ends() -> None:
    for text in ("10.0.0.0/8", "172.16.0.0/12", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7"):
        network = ipaddress.ip_network(text)
        assert not is_public(str(network[0]))
        assert not is_public(str(network[-1]))


def test_networks_are_read_and_a_wrong_one_is_named() -> None:
    assert [str(one) for one in read_networks("10.0.0.0/8, fd00::/8", field="x")] == [
        "10.0.0.0/8",
        "fd00::/8",
    ]
    with pytest.raises(InvalidInput) as refused:
        read_networks("10.0.0.1/8", field="webhook_networks")
    assert refused.value.field == "webhook_networks"


class Names(AbstractResolver):
    """A resolver that asks a function, and counts."""

    def __init__(self, addresses_of: Callable[[str], list[str]]) -> None:
        self._addresses_of = addresses_of
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in self._addresses_of(host)
        ]

    async def close(self) -> None:
        pass


@contextmanager
def listening(
    address: str, port: int = 0, answer: bytes = b""
) -> Iterator[tuple[int, list[bytes]]]:
    """What the first packet of each connection was; each is answered with ``answer``."""
    heard: list[bytes] = []
    with socket.create_server((address, port)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    heard.append(connection.recv(65536))
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def told(
    url: str, *, timeout_seconds: float = 5, read_bytes: int | None = None
) -> Generator[HttpRequest, HttpResponse, tuple[int, int]]:
    answer = yield HttpRequest(
        method="POST",
        url=url,
        body=b"{}",
        timeout_seconds=timeout_seconds,
        public_only=True,
        read_bytes=read_bytes,
    )
    return answer.status, len(answer.body)


NO_CONTENT = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


async def test_a_name_that_leads_inside_is_not_connected_to() -> None:
    with listening("127.0.0.2", answer=NO_CONTENT) as (port, heard):
        names = Names(lambda _: ["127.0.0.2"])
        async with AsyncTransport(private_networks=HERE, resolver=names) as transport:
            outcome = await transport.run(told(f"http://shop.test:{port}/"))
            literal = await transport.run(told(f"http://127.0.0.2:{port}/"))
            mapped = await transport.run(told(f"http://[::ffff:127.0.0.2]:{port}/"))
            decimal = await transport.run(told(f"http://2130706434:{port}/"))
    assert outcome == literal == mapped == NotSent(reason="its address is not a public one")
    assert isinstance(decimal, NotSent | Unknown)
    assert heard == []


async def test_of_several_addresses_only_the_good_ones_are_tried() -> None:
    with (
        listening("127.0.0.1", answer=NO_CONTENT) as (port, heard),
        listening("127.0.0.2", port, answer=NO_CONTENT) as (_, inside),
    ):
        names = Names(lambda _: ["127.0.0.2", "10.0.0.1", "127.0.0.1"])
        async with AsyncTransport(private_networks=HERE, resolver=names) as transport:
            assert await transport.run(told(f"http://shop.test:{port}/hook")) == (204, 0)
    assert inside == []
    assert f"host: shop.test:{port}".encode() in heard[0].lower()


async def test_a_name_is_resolved_once_for_a_connection_and_every_one_is_checked() -> None:
    """A name that leads elsewhere the second time gains nothing by it."""
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    with (
        listening("127.0.0.1", answer=NO_CONTENT) as (port, heard),
        listening("127.0.0.2", port, answer=NO_CONTENT) as (_, inside),
    ):
        names = Names(lambda _: answers.pop(0))
        async with AsyncTransport(private_networks=HERE, resolver=names) as transport:
            assert await transport.run(told(f"http://shop.test:{port}/")) == (204, 0)
            assert names.asked == ["shop.test"]
            assert isinstance(await transport.run(told(f"http://shop.test:{port}/")), NotSent)
    assert names.asked == ["shop.test"] * 2
    assert (len(heard), inside) == (1, [])


async def test_tls_is_asked_for_by_the_name_and_not_the_address() -> None:
    with listening("127.0.0.1") as (port, heard):
        names = Names(lambda _: ["127.0.0.1"])
        async with AsyncTransport(private_networks=HERE, resolver=names) as transport:
            assert isinstance(await transport.run(told(f"https://shop.test:{port}/")), NotSent)
    assert b"shop.test" in heard[0]  # the server name in the TLS hello


async def test_a_redirect_inside_is_not_followed_and_a_long_answer_not_read() -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2/\r\nContent-Length: 0\r\n\r\n"
    with listening("127.0.0.1", answer=moved) as (port, _):
        async with AsyncTransport(private_networks=HERE) as transport:
            assert await transport.run(told(f"http://127.0.0.1:{port}/")) == (302, 0)
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 9000
    with listening("127.0.0.1", answer=endless) as (port, _):
        async with AsyncTransport(private_networks=HERE) as transport:
            outcome = await transport.run(told(f"http://127.0.0.1:{port}/", read_bytes=4096))
    assert outcome == (200, 4096)


def test_the_blocking_driver_has_no_guard_and_refuses() -> None:
    with listening("127.0.0.1", answer=NO_CONTENT) as (port, heard), BlockingTransport() as driver:
        assert isinstance(driver.run(told(f"http://127.0.0.1:{port}/")), NotSent)
    assert heard == []


async def test_nothing_is_sent_when_no_time_is_left() -> None:
    with listening("127.0.0.1", answer=NO_CONTENT) as (port, heard):
        async with AsyncTransport(private_networks=HERE) as transport:
            with deadline(1.0):  # not enough to book what would come
                outcome = await transport.run(told(f"http://127.0.0.1:{port}/"))
    assert outcome == NotSent(reason="no time was left to send it")
    assert heard == []


async def test_a_requests_time_is_cut_to_what_is_left() -> None:
    """The listener takes the connection and says nothing; only the deadline ends the wait."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        async with AsyncTransport(private_networks=HERE) as transport:
            with deadline(2.2):
                outcome = await transport.run(told(url, timeout_seconds=3600))
    assert isinstance(outcome, Unknown)
