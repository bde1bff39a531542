"""A file of words and what they count as.

Owns its form. Knows nothing of how words are replaced.
"""

from __future__ import annotations

import pyarrow as pa

from ray_asr.errors import DataError
from ray_asr.redaction import redacted
from ray_asr.results.columns import OpenFilesystem

_MOST_BYTES = 64 * 2**20
_FORM = "write what is said, a tab, and what it counts as (nothing: it is left out)"


def read_replacements(where: str, open_filesystem: OpenFilesystem) -> dict[str, str]:
    """The lines of a UTF-8 file: words, a tab, words; blank ones and those with a # are left out.

    Raises:
        DataError: it cannot be read, or a line has another form.
    """
    name = f"replacements {redacted(where)}"
    try:
        filesystem, path = open_filesystem(where)
        with filesystem.open_input_stream(path) as source:
            data = source.read(_MOST_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (pa.ArrowException, OSError) as error:
        reason = redacted(str(error))
        raise DataError(f"{name} cannot be read ({reason}); check the path") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no UTF-8 text ({error}); save it as UTF-8") from None
    if len(data) > _MOST_BYTES:
        raise DataError(f"{name} is larger than {_MOST_BYTES >> 20} MiB; name a file of lines")
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        said, tab, meant = line.strip("\r").partition("\t")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not tab or not said.strip():
            raise DataError(f"{name}: line {number} has another form; {_FORM}")
        if found.setdefault(said, meant) != meant:
            raise DataError(f"{name}: line {number} replaces {said!r} a second way; leave one")
    return found
