"""Where user code runs: slot processes, and the worker's side of them."""
