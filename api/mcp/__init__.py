"""MCP: captured calls and the ledger's proofs as tools of an agent's, by the official SDK."""
