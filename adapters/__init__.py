"""What is tested: one module per framework behind a common interface, and the host that serves them."""
