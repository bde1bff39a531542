"""The corpus wing: input files, rows and shards; knows no models."""
