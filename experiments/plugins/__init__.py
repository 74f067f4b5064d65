"""Every network plugin on the same nodes and cables, against no pod network."""
