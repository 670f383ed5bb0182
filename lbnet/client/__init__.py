"""The Python API: a client, its jobs and the embedded cluster."""
