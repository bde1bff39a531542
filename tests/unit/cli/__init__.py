"""The command line, in this process, with jobs that do nothing."""
