"""Wire formats, one file each: the text, an example, parse and format side by side.

Every ``parse_*`` accepts exactly what its ``format_*`` emits and raises
:class:`~ledger_core.errors.MalformedError` for anything else.
"""
