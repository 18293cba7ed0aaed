"""Training scenarios (family 9xx): what batch normalization does to a network, and what its wrong use looks like."""
