"""The address of a Ray cluster: what it names, and whether anything answers there.

Owns the first look at an address. Must not know Ray, whose own look takes minutes where nothing
answers, and does not say what to do.
"""

from __future__ import annotations

import os
import socket
import time
from urllib.parse import SplitResult, urlsplit

from ray_asr.errors import ConfigError

_CLIENT_PORT = 10001  # of `ray://HOST`, where it names none
_PAUSE_S = 0.2


def named_address(address: str | None) -> str:
    """The address that counts: "local", or what `RAY_ADDRESS` has where "auto" or none is given."""
    if address in (None, "", "auto"):
        return os.environ.get("RAY_ADDRESS") or address or "local"
    return address


def check_address(address: str, wait_s: float = 5.0) -> None:
    """See whether a cluster answers at `address`, which may be one that is just starting.

    Looks at HOST:PORT, [IPv6]:PORT and ray://HOST[:PORT]; "auto", which Ray looks for itself, and
    addresses of other kinds are left to it.

    Args:
        address: as it was given, or stands in `RAY_ADDRESS`.
        wait_s: how long it is tried, for each of a host's addresses.

    Raises:
        ConfigError: nothing answers, or it is not an address of a cluster; says what to do.
    """
    scheme, separator, _ = address.partition("://")
    if scheme in ("http", "https") and separator:
        raise ConfigError(
            f"the Ray address {address} is one for `ray job submit`: submit jobs/*.py there, or "
            "name the head as HOST:6379 with --address or RAY_ADDRESS."
        )
    if address == "auto" or (separator and scheme != "ray"):
        return
    host, port = _place(address if separator else f"//{address}", address)
    error = _unreachable(host, port or _CLIENT_PORT, wait_s)
    if error:
        raise ConfigError(
            f"nothing answers at the Ray address {address} ({error}): check it and that the head "
            "runs and lets this machine in, or use --address local for a Ray on this machine."
        )


def _place(url: str, address: str) -> tuple[str, int | None]:
    """Host and port; only a client's address may be without the port."""
    try:
        parts: SplitResult = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or (port is None and not url.startswith("ray://")):
        raise ConfigError(
            f'the Ray address "{address}" is not HOST:PORT: name the head like 10.0.0.1:6379 or '
            "[fd00::1]:6379, or use local for a Ray on this machine."
        )
    return host, port


def _unreachable(host: str, port: int, wait_s: float) -> str:
    """Why no connection comes about within `wait_s`; "" where one does."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            left_s = max(deadline - time.monotonic(), _PAUSE_S)
            with socket.create_connection((host, port), timeout=left_s):
                return ""
        except socket.gaierror as error:  # a name that is not known will not be in a moment
            return error.strerror or str(error)
        except OSError as error:
            reason = error.strerror or str(error)
        if time.monotonic() + _PAUSE_S >= deadline:
            return reason
        time.sleep(_PAUSE_S)
