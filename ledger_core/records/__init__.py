"""Record types: what a record may say, who may write it, what can be asked of it."""
