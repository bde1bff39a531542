"""The work: rows through actors. Read `pipeline.py` first, then `worker.py`."""
