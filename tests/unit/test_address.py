"""What an address of Ray names, and whether anything answers there: with real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from ray_asr.errors import ConfigError
from ray_asr.job.address import check_address, named_address


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of something that answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port where nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("given", "environment", "named"),
    [
        (None, None, "local"),
        (None, "", "local"),
        ("", None, "local"),
        (None, "local", "local"),
        (None, "10.0.0.1:6379", "10.0.0.1:6379"),
        ("auto", None, "auto"),
        ("auto", "10.0.0.1:6379", "10.0.0.1:6379"),
        ("local", "10.0.0.1:6379", "local"),
        ("ray://head:10001", "10.0.0.1:6379", "ray://head:10001"),
    ],
)
def test_the_address_that_counts_is_the_one_that_ray_takes(
    given: str | None, environment: str | None, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if environment is not None:
        monkeypatch.setenv("RAY_ADDRESS", environment)
    assert named_address(given) == named


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "ray://127.0.0.1:{}"])
def test_what_answers_is_taken(form: str, listening: int) -> None:
    check_address(form.format(listening), wait_s=1.0)


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "ray://127.0.0.1:{}"])
def test_where_nothing_answers_it_is_said_soon_with_what_to_do(form: str, closed: int) -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"nothing answers .*refused.*--address local") as raised:
        check_address(form.format(closed), wait_s=0.5)
    assert form.format(closed) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert time.monotonic() - started < 5


def test_a_head_that_is_just_starting_is_waited_for(closed: int) -> None:
    servers: list[socket.socket] = []

    def start() -> None:
        time.sleep(0.5)
        servers.append(socket.create_server(("127.0.0.1", closed)))

    thread = threading.Thread(target=start)
    thread.start()
    try:
        check_address(f"127.0.0.1:{closed}", wait_s=10.0)
    finally:
        thread.join()
        servers[0].close()


def test_a_name_that_nobody_knows_is_not_waited_for() -> None:
    with pytest.raises(ConfigError, match="nothing answers"):
        check_address("no-such-head.invalid:6379", wait_s=60.0)


def test_addresses_of_the_sixth_version_are_looked_at_too() -> None:
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = server.getsockname()[1]
    with server:
        check_address(f"[::1]:{port}", wait_s=1.0)
        check_address(f"ray://[::1]:{port}", wait_s=1.0)
    with pytest.raises(ConfigError, match=rf"\[::1\]:{port}"):
        check_address(f"[::1]:{port}", wait_s=0.3)


def test_a_clients_address_without_a_port_is_the_clients_own() -> None:
    try:
        server = socket.create_server(("127.0.0.1", 10001))
    except OSError:
        pytest.skip("another program has the port")
    with server:
        check_address("ray://127.0.0.1", wait_s=1.0)


@pytest.mark.parametrize("address", ["auto", "anyscale://cluster"])
def test_what_ray_looks_for_itself_is_left_to_it(address: str) -> None:
    check_address(address, wait_s=0.1)


@pytest.mark.parametrize(
    "address", ["head", "head:", "head:http", "::1:6379", "10.0.0.1:99999", ":6379", "ray://"]
)
def test_what_is_no_address_is_said_with_what_one_looks_like(address: str) -> None:
    with pytest.raises(ConfigError, match=r"is not HOST:PORT: name the head like"):
        check_address(address, wait_s=0.1)


@pytest.mark.parametrize("address", ["http://head:8265", "https://head"])
def test_the_address_of_the_dashboard_is_told_from_the_heads(address: str) -> None:
    with pytest.raises(ConfigError, match=r"ray job submit.*HOST:6379"):
        check_address(address, wait_s=0.1)
