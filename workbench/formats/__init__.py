"""Formats: one file per way to store weights; each exports ``FORMAT``."""
