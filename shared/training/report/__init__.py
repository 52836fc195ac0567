"""The training report of a model: one HTML file that needs nothing else."""

from typing import Final

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)
"""What a browser may do with the report: apply its own style sheet. It is in the file too, for those who keep it."""
