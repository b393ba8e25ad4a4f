"""Evals: is the SQL right? Each eval is handed what it needs; it makes no runtime itself."""
