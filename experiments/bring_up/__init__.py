"""What a cluster costs to bring up: Podwire, the kernel's floor, and stock Mininet."""
