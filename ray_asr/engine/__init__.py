"""The engine wing: FunASR and torch, and nothing of Ray or Parquet."""
