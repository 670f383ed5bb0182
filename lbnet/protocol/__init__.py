"""What is said, and its bytes. Pure: no sockets, no clocks."""
