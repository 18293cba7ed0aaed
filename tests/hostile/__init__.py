"""Adapters that misbehave, one way each: what sessions and executors must survive and name."""
