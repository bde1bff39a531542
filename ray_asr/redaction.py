"""What may be shown of addresses and settings: everything but secrets.

Owns which parts of a text or of a tree of settings are secrets. Must not know where they are shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

HIDDEN = "***"

# User info of an address: all up to "@". A secret key with a "/" that was not written as %2F is
# told by the ":" before it, which no port follows.
_USER_INFO = re.compile(
    r"(?P<protocol>[a-z][a-z0-9+.-]*)://"
    r"(?P<info>[^\s/@?#]+|[^\s/@:?#]+:(?!\d+(?:[/?#\s]|$))[^\s@]*)@",
    re.IGNORECASE,
)
# Names of secrets as words of a longer name, whatever stands between the words.
_SECRET_WORDS = (
    r"secret|passwords?|passwd|passphrase|credentials?|signature|sig|apikey|api_key|access_?key"
    r"|access_?key_?id|secret_?key|private_key|account_key|auth|authorization|awsaccesskeyid"
)
_SECRET_NAME = re.compile(rf"(?:^|_)(?:{_SECRET_WORDS})(?:_|$)|(?:^|_)(?:token|key)$")
# Names of a model's own vocabulary and of columns, which end like those of secrets.
_NO_SECRET = re.compile(
    r"(?:^|_)(?:pad|eos|bos|sos|unk|blank|mask|cls|sep|special|start|stop|end)_token$"
    r"|(?:^|_)(?:data|audio|text|source|target|primary|sort)_key$"
)
_CONTAINERS = ("abfs", "abfss")  # the container stands where others have a user
_VALUE = re.compile(r"(?<![\w/.-])(?P<name>[A-Za-z][\w.-]*)=(?P<value>[^\s&;,'\"<>)\]}]+)")


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name (of a setting, of a query's value) is a secret."""
    plain = re.sub(r"[\W_]+", "_", name).lower()
    return bool(_SECRET_NAME.search(plain)) and not _NO_SECRET.search(plain)


def redacted(text: str) -> str:
    """A path, an address, or any text that may hold some, without secrets.

    User info (`s3://key:secret@bucket`) and the values of secret names (`?sig=…`,
    `X-Amz-Signature=…`) become `***`; the rest stays as it is.
    """
    return _VALUE.sub(_without_value, _USER_INFO.sub(_without_user, text))


def _without_user(match: re.Match[str]) -> str:
    if match["protocol"].lower() in _CONTAINERS and ":" not in match["info"]:
        return match[0]
    return f"{match['protocol']}://{HIDDEN}@"


def _without_value(match: re.Match[str]) -> str:
    return f"{match['name']}={HIDDEN}" if is_secret_name(match["name"]) else match[0]


def redacted_settings(value: Any) -> Any:
    """Settings without secrets: mappings and sequences of anything, to any depth.

    A secret name's value becomes `***`, and every text is `redacted`.
    """
    if isinstance(value, Mapping):
        return {
            name: HIDDEN
            if leaf and isinstance(leaf, (str, bytes)) and is_secret_name(str(name))
            else redacted_settings(leaf)
            for name, leaf in cast(Mapping[Any, Any], value).items()
        }
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [redacted_settings(leaf) for leaf in cast(Sequence[Any], value)]
    return value
