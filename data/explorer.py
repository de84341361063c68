"""The page of `silero-like data report`: one HTML file that needs no server, no network and no other file."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from data.check import KINDS, Finding
from data.examine import Sample
from data.statistics import MEASURES, TITLES, Group, cells, measured
from silero_like.evaluation.page import fill_page, table, tile

TEMPLATE_PATH = Path(__file__).with_name("explorer.html")
N_BINS = 24
OUTER_PERCENT = 0.5
"""Of the values, in the bin at each end: a few odd ones would squeeze all others into one."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A row that the page lists."""

    sample: Sample
    """The row."""
    image: str
    """Address of its spectrogram, "" for none."""
    audio: str
    """Address of its recording, relative to where the page will lie, or `data:`; "" for none."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """All that the page tells."""

    title: str
    """What it is about."""
    samples: Sequence[Sample]
    """All rows; histograms count them."""
    findings: Sequence[Finding]
    """What is wrong with them."""
    groups: Mapping[str, Group]
    """The domains."""
    total: Group
    """All together."""
    provenance: Mapping[str, object]
    """How the page came about."""


def choose_rows(
    samples: Sequence[Sample], findings: Sequence[Finding], n_rows: int, generator: np.random.Generator
) -> list[Sample]:
    """Choose at most `n_rows` rows to list: some of each finding, the extremes of each measure, and a random sample.

    A quarter goes to findings, half to the extremes, what is left to chance.
    """
    if len(samples) <= n_rows:
        return list(samples)
    chosen: dict[str, Sample] = {}
    by_name = {sample.where: sample for sample in samples}
    of_kind: dict[str, list[Sample]] = defaultdict(list)
    for finding in findings:
        if finding.where in by_name:
            of_kind[finding.kind].append(by_name[finding.where])
    for guilty in of_kind.values():
        chosen |= {sample.where: sample for sample in guilty[: max(1, n_rows // 4 // len(of_kind))]}
    good = [sample for sample in samples if sample.examined]
    n_extreme = max(1, n_rows // 4 // len(MEASURES))
    for name in MEASURES:
        ranked = sorted(good, key=lambda sample: measured(sample)[name])
        chosen |= {sample.where: sample for sample in (*ranked[:n_extreme], *ranked[-n_extreme:])}
    rest = [sample for sample in samples if sample.where not in chosen]
    n_rest = max(0, min(len(rest), n_rows - len(chosen)))
    chosen |= {rest[place].where: rest[place] for place in generator.choice(len(rest), n_rest, replace=False)}
    return list(chosen.values())[:n_rows]


def render_explorer(corpus: Corpus, shown: Sequence[Shown]) -> str:
    """Render the page."""
    found: dict[str, list[Finding]] = defaultdict(list)
    for finding in corpus.findings:
        found[finding.where].append(finding)
    n_all = len(corpus.samples)
    chosen = f"All {n_all} utterances."
    if len(shown) < n_all:
        chosen = (
            f"{len(shown)} of {n_all} utterances: of each finding and from both ends of each measure, and others by "
            "chance; sorting shows the true extremes first."
        )
    parts = {
        "title": escape(corpus.title),
        "body": "\n".join([_head(corpus), _domains(corpus), _findings(corpus)]),
        "chosen": chosen,
        "provenance": '<h2>How this page came about</h2><div class="card"><pre>'
        + escape(json.dumps(dict(corpus.provenance), indent=1, ensure_ascii=False))
        + "</pre></div>",
    }
    data = {"measures": _histograms(corpus.samples), "rows": [_row(row, found[row.sample.where]) for row in shown]}
    return fill_page(TEMPLATE_PATH.read_text(encoding="utf-8"), parts, data)


def _head(corpus: Corpus) -> str:
    total = corpus.total
    tiles = [
        ("utterances", str(total.utterances), f"{total.unreadable} unreadable"),
        ("speech", f"{total.audio_s / 3600:.2f} h", f"{total.n_bytes / 1e9:.2f} GB on disk"),
        ("speakers", str(total.speakers), "named"),
        ("findings", str(len(corpus.findings)), "faults and repeats"),
    ]
    shown = "".join(tile(*parts) for parts in tiles)
    return f'<h1>{escape(corpus.title)}</h1>\n<div class="tiles">{shown}</div>'


def _domains(corpus: Corpus) -> str:
    rows = [(name or "–", *cells(group)) for name, group in corpus.groups.items()]
    legend = "; ".join(f"{title}: {meaning}" for title, meaning in TITLES.items())
    body = table(("domain", *TITLES), [*rows, ("all", *cells(corpus.total))])
    return f'<h2>Domains</h2>\n{body}\n<p class="quiet">{escape(legend)}</p>'


def _findings(corpus: Corpus) -> str:
    counts = Counter(finding.kind for finding in corpus.findings)
    if not counts:
        return ""
    lines = "".join(
        f"<li><span>{counts[kind]}</span><span>{escape(f'{kind}: {meaning}')}</span></li>"
        for kind, meaning in KINDS.items()
        if counts[kind]
    )
    return f'<h2>Findings</h2><div class="card"><ol>{lines}</ol></div>'


def _histograms(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return for every measure its bins, and how many rows of each domain, and of all (""), lie in each."""
    good = [sample for sample in samples if sample.examined]
    domains = np.array([sample.utterance.domain for sample in good])
    measures = [measured(sample) for sample in good]
    result = []
    for name, about in MEASURES.items():
        values = np.array([row[name] for row in measures]) * about.factor
        low, high = np.percentile(values, [OUTER_PERCENT, 100 - OUTER_PERCENT]) if len(values) else (0.0, 0.0)
        edges = np.linspace(low, high if high > low else low + 1, N_BINS + 1)
        result.append(
            {
                "title": about.title,
                "short": about.short,
                "digits": about.digits,
                "edges": [float(f"{edge:.6g}") for edge in edges],
                "domains": {
                    domain: _counts(values[domains == domain] if domain else values, edges)
                    for domain in ("", *sorted(set(domains)))
                },
            }
        )
    return result


def _counts(values: np.typing.NDArray[np.float64], edges: np.typing.NDArray[np.float64]) -> dict[str, Any]:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"counts": counts.tolist(), "median": float(np.median(values)) if len(values) else None}


def _row(shown: Shown, findings: Sequence[Finding]) -> dict[str, object]:
    """Return what the page's table knows of an utterance."""
    sample = shown.sample
    values = measured(sample) if sample.examined else None
    return {
        "name": f"{sample.utterance.audio_path.name} · {sample.manifest.name}:{sample.line}",
        "domain": sample.utterance.domain,
        "speaker": sample.utterance.speaker,
        "text": sample.utterance.text,
        "found": [[finding.kind, _detail(finding)] for finding in findings],
        "values": [round(values[name] * about.factor, 3) for name, about in MEASURES.items()] if values else None,
        "image": shown.image,
        "audio": shown.audio,
    }


def _detail(finding: Finding) -> str:
    """Return what was found, and the row that is repeated without its folder."""
    return f"{finding.detail} = {Path(finding.other).name}" if finding.other else finding.detail
