"""What is lost while a network finds out that something has failed."""
