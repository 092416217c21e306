"""All SQL. Ground truth is append-only; views lie apart and can be rebuilt from it."""
