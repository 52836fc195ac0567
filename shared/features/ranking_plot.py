"""The ranking and the elimination as pictures: self-contained SVGs, written without a plotting library."""

import math
from collections.abc import Sequence
from html import escape

from shared.features.elimination import Elimination, Round
from shared.features.selection import RankedFeature

_ROW, _TOP, _LEFT, _BAR, _RIGHT = 22, 56, 260, 420, 96
_MOST = 40
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2933}.t{font-size:15px;font-weight:600}.n{fill:#52606d}"
    ".mi{fill:#2f6fab}.gain{fill:#e08a1e}.off{opacity:.35}"
    "@media(prefers-color-scheme:dark){text{fill:#e4e7eb}.n{fill:#9aa5b1}}"
)


def ranking_svg(ranking: Sequence[RankedFeature], *, title: str) -> bytes:
    """Horizontal bars of mutual information and gain, each on its own scale, for the best features; UTF-8 SVG."""
    shown = ranking[:_MOST]
    widest_information = max((feature.mutual_information for feature in shown), default=0.0) or 1.0
    widest_gain = max((feature.gain for feature in shown), default=0.0) or 1.0
    height, width = _TOP + _ROW * len(shown) + 28, _LEFT + _BAR + _RIGHT
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        ),
        f'<text class="t" x="12" y="22">{escape(title)}</text>',
        '<rect class="mi" x="12" y="34" width="10" height="10"/><text x="28" y="43">mutual information (nats)</text>',
        '<rect class="gain" x="200" y="34" width="10" height="10"/><text x="216" y="43">share of gain</text>',
        '<text class="n" x="320" y="43">faint: not selected</text>',
    ]
    for position, feature in enumerate(shown):
        top = _TOP + _ROW * position
        information = _BAR * feature.mutual_information / widest_information
        gain = _BAR * feature.gain / widest_gain
        name = feature.name if len(feature.name) <= 38 else feature.name[:37] + "…"
        hint = escape(f"{feature.name}: {feature.reason or 'selected'}")
        parts.append(
            f'<g class="{"" if feature.selected else "off"}"><title>{hint}</title>'
            f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="mi" x="{_LEFT}" y="{top + 2}" width="{information:.1f}" height="7"/>'
            f'<rect class="gain" x="{_LEFT}" y="{top + 10}" width="{gain:.1f}" height="7"/>'
            f'<text class="n" x="{_LEFT + _BAR + 8}" y="{top + 13}">{feature.score:.3f}</text></g>'
        )
    if len(ranking) > _MOST:
        parts.append(f'<text class="n" x="12" y="{height - 8}">and {len(ranking) - _MOST} more</text>')
    return ("".join(parts) + "</svg>\n").encode()


def elimination_svg(elimination: Elimination, *, title: str) -> bytes:
    """Average precision over the number of features (logarithmic) of each round, the chosen one marked; UTF-8 SVG."""
    width, height, left, top, right, bottom = 720, 360, 64, 64, 24, 48
    fewest, most = elimination.rounds[-1].features, elimination.rounds[0].features
    decades = math.log(most / fewest) or 1.0
    scores = [entry.average_precision for entry in elimination.rounds]
    # At least a hundredth of average precision high, so that noise does not look like a cliff.
    lowest, highest = min(min(scores), max(scores) - 0.01), max(scores)

    def place(entry: Round) -> tuple[float, float]:
        across = left + 12 + (width - left - right - 12) * math.log(entry.features / fewest) / decades
        return across, top + (height - top - bottom) * (highest - entry.average_precision) / (highest - lowest)

    points = {entry: place(entry) for entry in elimination.rounds}
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points.values())
    dots = "".join(
        f'<circle class="{"gain" if entry == elimination.chosen else "mi"}" cx="{x:.1f}" cy="{y:.1f}" r="5">'
        f"<title>{entry.features} features: {entry.average_precision:.4f}</title></circle>"
        f'<text class="n" x="{x:.1f}" y="{height - bottom + 20}" text-anchor="middle">{entry.features}</text>'
        for entry, (x, y) in points.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}"><style>{_STYLE}</style>'
        f'<text class="t" x="12" y="22">{escape(title)}</text>'
        f'<text class="n" x="12" y="43">average precision on later rows by number of features; '
        f"kept: {len(elimination.kept)}</text>"
        f'<text class="n" x="{left - 8}" y="{top + 4}" text-anchor="end">{highest:.3f}</text>'
        f'<text class="n" x="{left - 8}" y="{height - bottom + 4}" text-anchor="end">{lowest:.3f}</text>'
        f'<polyline points="{line}" fill="none" stroke="#2f6fab" stroke-width="2"/>{dots}</svg>\n'
    ).encode()
