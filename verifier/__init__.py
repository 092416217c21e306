"""The verifier: an auditor's answer to an archive, with no network and nobody's help.

Start reading at :mod:`verifier.archive_checks`, the specification in code; :mod:`verifier.audit`
says in which order the checks run.
"""
