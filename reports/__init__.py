"""What was found: the schema of the results, their files, and the pages made from them."""
