"""What a controller must not forget, on a disk. It knows records as bytes, and nothing of what they mean."""
