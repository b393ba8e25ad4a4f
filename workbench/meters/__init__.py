"""Meters of memory and energy, read from outside the engine; one file each, found by its name."""
