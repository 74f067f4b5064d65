"""How many instructions each network costs the kernel, and where they go."""
