"""Pure rules: the same input gives the same verdict, in the service and in the verifier."""
