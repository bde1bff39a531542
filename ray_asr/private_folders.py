"""Folders of this user alone.

Owns how one is made, and that one which is there is not another's. Must not know what it is for.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make `path` a folder that only this user can look into.

    A name in a shared folder may be taken by anyone beforehand, with links in it to what this user
    may write to.

    Raises:
        PermissionError: something of that name is there already, and not a folder of this user's.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path} is not a folder of this user's own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path
