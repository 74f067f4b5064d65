"""What becomes of packets that are too large for the path, under every network."""
