"""The log: records go in, proofs come out. Start reading at :mod:`ledger_core.ledger`."""
