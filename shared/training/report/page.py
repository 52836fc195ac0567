"""The report as one HTML file: nothing is fetched, nothing is executed, and the same run gives the same bytes."""

from collections.abc import Mapping
from typing import Any, Final

from shared.training.evidence import Evidence
from shared.training.report.document import document
from shared.training.report.markup import section
from shared.training.report.sections.calibration import calibration
from shared.training.report.sections.decisions import decisions, ranking
from shared.training.report.sections.explanation import explanation
from shared.training.report.sections.making import making
from shared.training.report.sections.search import search
from shared.training.report.sections.slices import groups, months
from shared.training.report.sections.verdict import verdict
from shared.training.report.subject import Subject
from shared.training.report.text import escaped

_CONTENTS: Final = (
    ("verdict", "How good"),
    ("ranking", "Ranking"),
    ("decisions", "Decisions"),
    ("calibration", "Probabilities"),
    ("explanation", "Features"),
    ("months", "Over time"),
    ("groups", "Groups"),
    ("making", "How made"),
)
_MOST_WARNINGS: Final = 30
_LONGEST_WARNING: Final = 500


def render_report(description: Mapping[str, Any], evidence: Evidence, meanings: Mapping[str, str]) -> bytes:
    """The report as UTF-8 HTML.

    :param description: the fields of :class:`shared.training.artifacts.ModelMetadata` without ``files``.
    :param meanings: what features mean, by name; may be incomplete.
    """
    subject = Subject(description, evidence, meanings)
    body = "".join(
        (
            verdict(subject),
            ranking(subject),
            decisions(subject),
            calibration(subject),
            explanation(subject),
            months(subject),
            groups(subject),
            making(subject),
            search(subject),
        )
    )
    return document("Training report", description["name"], _CONTENTS, _warnings(subject) + body, _FOOT)


_FOOT: Final = (
    "Curves leave out points that lie within half a unit of a drawn one, in a picture 460 units wide. Figures are of "
    "the test part unless they say otherwise; the threshold was chosen on the validation part. Rows count as "
    "independent in all intervals."
)


def _warnings(subject: Subject) -> str:
    found = list(subject.training.get("warnings") or [])
    if not subject.description["threshold_policy"].get("met", True):
        found.append("the threshold policy could not be met on the validation part; the nearest threshold was taken")
    if not found:
        return ""
    shown = [escaped(warning, _LONGEST_WARNING) for warning in found[:_MOST_WARNINGS]]
    if len(found) > _MOST_WARNINGS:
        shown.append(f"and {len(found) - _MOST_WARNINGS} more")
    items = "".join(f"<li>{warning}</li>" for warning in shown)
    return section("warnings", "Be careful", f"<ul>{items}</ul>")
