"""One file per record type. Types do not know each other."""
