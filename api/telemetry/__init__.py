"""Calls as OpenTelemetry spans, for tools that show traces."""
