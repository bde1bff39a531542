"""Whether this process is the kernel of a notebook, and what Ray need not say there of itself.

Must not know what is shown. Neither IPython nor Ray is imported to find out.
"""

from __future__ import annotations

import logging
import sys
import warnings


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def quiet_import() -> None:
    """In a notebook Ray misses ipywidgets for its own displays when it is imported; ours do not."""
    if in_notebook():
        logging.getLogger("ray.widgets.util").setLevel(logging.WARNING)
        warnings.filterwarnings("ignore", message="IProgress not found")
