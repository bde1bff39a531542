"""Two folders take each other's place in one step, where the file system can do that.

Owns the one system call for it, and the question whether it is to be had. Must not know what is in
the folders. A path names the one folder or the other at any instant, also when the machine stops.

Source: renameat2(2), RENAME_EXCHANGE: ext4, XFS, Btrfs, tmpfs and others; not NFS.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys

_BESIDE = "_compacting."  # begins the name of what stands beside a folder; readers leave it out
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchange(one: str, other: str) -> None:
    """Let two paths of one file system have each other's folder.

    Raises:
        OSError: this system cannot, or not there; both are as they were.
    """
    if not sys.platform.startswith("linux"):
        raise OSError(errno.ENOSYS, "only Linux has it")
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, "this C library does not have it") from None
    rename.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), one, None, other)


def beside(folder: str) -> str:
    """Where the folder stands that is to be exchanged for `folder`."""
    parent, name = os.path.split(folder)
    return os.path.join(parent, f"{_BESIDE}{name}")


def obstacle(folder: str) -> str:
    """Why `folder` cannot be exchanged for the one beside it; "" where it can, as far as one sees.

    Tries it with two empty folders in the one beside it, which must not be there, and is not
    afterwards.
    """
    if os.path.ismount(folder):
        return "it is a mount point"
    try:
        with contextlib.ExitStack() as made:
            for path in (beside(folder), f"{beside(folder)}/one", f"{beside(folder)}/other"):
                os.mkdir(path)
                made.callback(os.rmdir, path)
            exchange(f"{beside(folder)}/one", f"{beside(folder)}/other")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def sync_folder(path: str) -> None:
    """Have the names in a folder on the disk, and not only in memory, where a system does that."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
