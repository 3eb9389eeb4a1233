"""One file per rule about a loaded spec, found by name."""
