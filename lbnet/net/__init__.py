"""The driver for real clusters: asyncio links, the controller's server and the worker's node."""
