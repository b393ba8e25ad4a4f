"""Runtimes: one file per engine that runs artifacts; each exports ``RUNTIME``."""
