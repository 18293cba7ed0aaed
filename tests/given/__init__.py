"""Code as people have it, without adapters: what the kinds of targets are tried on."""
