"""The report as a whole: complete, self-contained, safe, and made of whatever there is."""

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from shared.training.algorithms.base import ExplanationKind
from shared.training.evidence import Evidence, Explanation
from shared.training.report.page import render_report
from tests.unit.training.report.subjects import description, evidence

SECTIONS = ["verdict", "ranking", "decisions", "calibration", "explanation", "months", "groups", "making", "search"]
HOSTILE = [
    "<script>alert(1)</script>",
    "\u202eevil\u202c",
    'a" onload="x',
    "nul\x00bel\x07",
    "]]><!--",
    "&amp;",
    "名前 ü",
]


def page(found: Evidence, described: dict[str, Any] | None = None, **changes: Any) -> ElementTree.Element:
    """The report as XML, which it must be as well."""
    return ElementTree.fromstring(render_report(described or description(found, **changes), found, {}))


def _text(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).replace("\N{NO-BREAK SPACE}", " ").split())


def _named(root: ElementTree.Element, anchor: str) -> ElementTree.Element:
    [found] = [element for element in root.iter() if element.get("id") == anchor]
    return found


def test_a_report_has_every_section_in_order() -> None:
    """Warnings first, then the verdict; each under a heading that names it."""
    root = page(evidence())
    sections = [element.get("id") for element in root.iter("section")]
    assert sections == ["warnings", *SECTIONS]
    assert not [element for element in root.iter("figure") if element.get("class") == "omitted"]
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    referred = {name for element in root.iter() for name in (element.get("aria-labelledby") or "").split()}
    assert referred <= set(ids)
    assert {link.get("href") for link in root.iter("a")} <= {f"#{name}" for name in ids}


def test_every_picture_has_a_title_and_a_description_and_every_table_a_caption() -> None:
    """So that a screen reader has something to say."""
    root = page(evidence())
    pictures = [element for element in root.iter() if element.tag.endswith("}svg")]
    assert len(pictures) >= 12
    for picture in pictures:
        title, about = picture[0], picture[1]
        assert picture.get("role") == "img"
        assert title.tag.endswith("title")
        assert about.tag.endswith("desc")
        assert title.text
        assert about.text
    for table in root.iter("table"):
        assert table[0].tag == "caption"
        assert table[0].text
        assert all(cell.get("scope") in {"col", "row"} for cell in table.iter("th"))


def test_nothing_is_fetched_and_nothing_is_executed() -> None:
    """No script, no event handler, no address; the policy in the file forbids the rest."""
    document = render_report(description(evidence()), evidence(), {}).decode()
    root = ElementTree.fromstring(document)
    tags = {element.tag.split("}")[-1] for element in root.iter()}
    assert not tags & {"script", "link", "img", "image", "iframe", "object", "embed", "use", "foreignObject", "form"}
    names = {name for element in root.iter() for name in element.attrib}
    assert not [name for name in names if name.lower().startswith("on") or name in {"src", "style"}]
    assert set(re.findall(r"https?://[^\s\"'<]+", document)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in document
    assert "@import" not in document
    [policy] = [
        meta.get("content") for meta in root.iter("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_chosen_by_users_are_shown_and_never_obeyed(name: str) -> None:
    """Of the model, features, categories, columns, months, versions, hyperparameters, warnings and meanings."""
    found = evidence(features=2)
    described = description(found, [name, "amount"], name=name)
    described["hyperparameters"] = {name: name}
    described["versions"] = {name: name}
    described["training"]["warnings"] = [name]
    described["training"]["search"]["trials"][0]["hyperparameters"] = {name: name}
    described["training"]["search"]["trials"][0]["reason"] = name
    described["threshold_policy"]["type"] = name
    described["metrics"]["by_group"] = {name: described["metrics"]["by_group"]["gender"]}
    described["metrics"]["by_group"][name]["groups"][0]["group"] = name
    described["metrics"]["by_month"][0]["month"] = name
    document = render_report(described, found, {name: name, "amount": "money"})
    root = ElementTree.fromstring(document)
    assert not [element for element in root.iter() if element.tag.endswith("script")]
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069]|[\x00-\x09\x0b-\x1f]", document.decode())
    assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
    visible = "".join(f"⟨U+{ord(c):04X}⟩" if c in "\u202e\u202c\x00\x07" else c for c in name)
    assert _text(_named(root, "warnings")).endswith(visible)
    assert visible in _text(_named(root, "explanation"))


def test_the_same_run_gives_the_same_bytes() -> None:
    """A stage that is repeated writes what is there."""
    assert render_report(description(evidence()), evidence(), {}) == render_report(
        description(evidence()), evidence(), {}
    )


def test_figures_are_told_with_their_intervals() -> None:
    """In the tiles and in the table."""
    found = evidence()
    described = description(found)
    shown = _text(_named(page(found, described), "verdict"))
    interval = described["metrics"]["intervals"]["auc_roc"]
    assert f"{interval['low']:.4f} to {interval['high']:.4f}" in shown
    confusion = described["metrics"]["confusion"]
    assert f"found {confusion['true_positives']} frauds and raised {confusion['false_positives']} false alarms" in shown


def test_the_threshold_table_agrees_with_counting() -> None:
    """Every row's figures are those of its threshold; the chosen one is pointed out."""
    found = evidence()
    assert found.labels is not None
    described = description(found)
    section = _named(page(found, described), "decisions")
    table = next(t for t in section.iter("table") if t[0].text == "What other thresholds would do on the test part")
    rows = [[_text(cell) for cell in row] for row in table.iter("tr")][1:]
    assert len(rows) > 3
    for threshold, _, precision, recall, fpr, flagged, a_day, cost in rows:
        flags = found.scores >= float(threshold)
        hits = int((flags & (found.labels == 1)).sum())
        alarms = int(flags.sum()) - hits
        missed = int(found.labels.sum()) - hits
        assert int(flagged.replace(",", "")) == pytest.approx(flags.sum(), abs=1)  # the threshold is shown rounded
        assert float(precision.removesuffix(" %")) == pytest.approx(100 * hits / flags.sum(), rel=0.02)
        assert float(recall.removesuffix(" %")) == pytest.approx(100 * hits / found.labels.sum(), rel=0.02)
        assert float(fpr.removesuffix(" %")) == pytest.approx(
            100 * alarms / (found.labels == 0).sum(), rel=0.1, abs=0.03
        )
        assert float(a_day.replace(",", "")) == pytest.approx(flags.sum() / 30, rel=0.01, abs=0.05)
        assert float(cost.replace(",", "")) == pytest.approx(100 * missed + 5 * alarms, rel=0.01, abs=6)
    [strong] = [_text(row) for row in table.iter("tr") if row.get("class") == "strong"]
    assert "chosen" in strong


def test_without_labels_what_needs_them_is_left_out_with_a_word() -> None:
    """An isolation forest's report: scores and features, no right and wrong."""
    found = replace(evidence(), labels=None)
    described = description(found, algorithm="isolation_forest", threshold_policy={"type": "fixed", "threshold": 0.5})
    root = page(found, described)
    for anchor in ("ranking", "decisions", "calibration", "months", "groups"):
        assert "Left out:" in _text(_named(root, anchor))
    assert "Without labels" in _text(_named(root, "verdict"))
    assert _named(root, "beeswarm") is not None


def _cut(found: Evidence, rows: int) -> Evidence:
    few = Explanation(found.explanation.values[:rows], found.explanation.contributions[:rows])
    assert found.labels is not None
    return replace(found, scores=found.scores[:rows], labels=found.labels[:rows], explanation=few)


WHOLE = evidence()
assert WHOLE.labels is not None
CASES = {
    "three rows": _cut(WHOLE, 3),
    "one row": _cut(WHOLE, 1),
    "all genuine": replace(WHOLE, labels=np.zeros_like(WHOLE.labels)),
    "all fraud": replace(WHOLE, labels=np.ones_like(WHOLE.labels)),
    "constant scores": replace(WHOLE, scores=np.full_like(WHOLE.scores, 0.5)),
    "all scores 0": replace(WHOLE, scores=np.zeros_like(WHOLE.scores)),
    "all scores 1": replace(WHOLE, scores=np.ones_like(WHOLE.scores)),
    "one feature": evidence(features=1),
    "no times": replace(WHOLE, days=None),
    "uncalibrated": replace(WHOLE, uncalibrated=np.sqrt(WHOLE.scores)),
}


@pytest.mark.parametrize("case", CASES)
def test_unusual_test_parts_make_a_whole_report(case: str) -> None:
    """What cannot be drawn is left out with a word; no number that is not one is written."""
    root = page(CASES[case])
    assert [element.get("id") for element in root.iter("section")][1:] == SECTIONS
    for element in root.iter():
        assert not [value for value in element.attrib.values() if re.search(r"\b(nan|inf)\b", value, re.IGNORECASE)]
    assert not re.search(r"\b(nan|inf|None)\b", _text(root))


def test_metadata_that_say_little_make_a_report_too() -> None:
    """No intervals, months, groups, curves, search, split nor warnings."""
    found = evidence()
    described = description(found, training={}, versions={}, hyperparameters={})
    for key in ("intervals", "by_month", "by_group", "calibration", "validation"):
        del described["metrics"][key]
    root = page(found, described)
    assert [element.get("id") for element in root.iter("section")] == SECTIONS[:-1]


def test_a_report_stays_small() -> None:
    """Below a megabyte with 550,000 rows, 300 features of long names and all tables full."""
    found = evidence(rows=550_000, features=300, explained=2_000)
    described = description(found, [f"{'long_name_' * 20}{i}" for i in range(300)])
    described["training"]["warnings"] = ["w" * 1_000] * 100
    groups = described["metrics"]["by_group"]["gender"]
    described["metrics"]["by_group"] = {
        f"column {i}": {**groups, "groups": [{**groups["groups"][0], "group": "g" * 300}] * 60} for i in range(20)
    }
    described["metrics"]["by_month"] = described["metrics"]["by_month"] * 50
    meanings = dict.fromkeys(described["feature_names"], "m" * 500)
    assert len(render_report(described, found, meanings)) < 1_000_000


def test_the_reader_is_told_what_the_shap_values_are() -> None:
    """Their unit, whether they are exact, and what they explain."""
    kind = ExplanationKind(method="sampled_shapley", unit="probability", of="uncalibrated_score")
    found = replace(WHOLE, explanation=replace(WHOLE.explanation, kind=kind))
    shown = _text(_named(page(found), "explanation"))
    assert "SHAP value (probability)" in shown
    assert "estimated by sampling" in shown
    assert "before calibration" in shown


def test_a_best_round_is_marked_only_where_the_model_ends_with_it() -> None:
    """An algorithm without early stopping keeps all rounds, also the worse ones after its best."""
    described = description(WHOLE)
    assert "best round, 30" in _text(_named(page(WHOLE, described), "making"))
    described["training"]["rounds"] = 40
    shown = _text(_named(page(WHOLE, described), "making"))
    assert "best round" not in shown
    assert "All rounds were kept" in shown
