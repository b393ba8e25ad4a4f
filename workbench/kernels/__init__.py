"""The numeric core: quantizers without any I/O."""
