"""Does a network built by Podwire behave as the same network built by hand?"""
