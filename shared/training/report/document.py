"""The HTML around a report: nothing is fetched, nothing is executed."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from shared.training.report import CONTENT_SECURITY_POLICY
from shared.training.report.markup import paragraph
from shared.training.report.text import escaped


def document(kind: str, name: str, contents: Sequence[tuple[str, str]], body: str, foot: str) -> bytes:
    """A whole page as UTF-8.

    :param kind: what the page is, such as "Training report". :param name: of what it is about.
    :param contents: anchors and titles of its sections. :param body: markup. :param foot: plain text.
    """
    links = "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in contents)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(CONTENT_SECURITY_POLICY)}"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        '<meta name="color-scheme" content="light dark"/>'
        f"<title>{escaped(f'{kind}: {name}')}</title><style>{_style()}</style></head><body>"
        f"<header><p>{escaped(kind)}</p><h1>{escaped(name)}</h1>"
        f'<nav aria-label="Contents">{links}</nav></header><main>{body}</main>'
        f"<footer>{paragraph(foot)}</footer></body></html>\n"
    ).encode()


@cache
def _style() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")
