"""What is required of batch normalization: cases, oracle, bounds, requirements, and how they are run and explained."""
