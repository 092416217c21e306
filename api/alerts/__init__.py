"""Alerts: seen in the feed of calls, kept in the log, sent to a webhook."""
