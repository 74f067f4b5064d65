"""Questions put to the emulator, one folder each."""
