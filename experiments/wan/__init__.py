"""TCP over a long, slow, lossy link between two racks, under every kind of tunnel."""
