"""The report: one HTML page that needs no server, no network and no other file."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from silero_like.evaluation.breakdown import Breakdown, align_words
from silero_like.evaluation.difficulty import Difficulty
from silero_like.evaluation.page import fill_page, table, tile
from silero_like.evaluation.scoring import Row, Score
from silero_like.evaluation.study import Study

TEMPLATE_PATH = Path(__file__).with_name("report.html")
EDIT_TITLES = ("S", "I", "D", "empty", "balance")
DOMAIN_TITLES = ("domain", "utterances", "minutes", "words", "WER", "95 % interval", "CER", *EDIT_TITLES)
SOUND_TITLES = ("SNR (dB, estimate)", "bandwidth (kHz)")
DIFFICULTY_TITLES = ("domain", "speakers", "vocabulary", "unknown words", "words a second", *SOUND_TITLES)


def render_report(study: Study, sources: Sequence[str]) -> str:
    """Render the page.

    Args:
        study: what was measured.
        sources: for each utterance of the evaluation, the address of its recording: a link, relative to where the page
            will lie, or a `data:` address; "" for none.
    """
    rows = [_utterance(row, source) for row, source in zip(study.evaluation.rows, sources, strict=True)]
    parts = {
        "title": escape(f"{study.evaluation.model}: error rates"),
        "body": "\n".join([_head(study), _domains(study), _gaps(study), _errors(study.breakdown)]),
        "provenance": _provenance(study),
    }
    return fill_page(TEMPLATE_PATH.read_text(encoding="utf-8"), parts, rows)


def _utterance(row: Row, source: str) -> dict[str, object]:
    """Return what the page's table knows of an utterance; a word stands for itself, a pair for an edit."""
    pairs = align_words(row.reference, row.hypothesis)
    return {
        "name": row.item.utterance_id,
        "domain": row.item.domain,
        "speaker": row.item.speaker,
        "duration": round(row.item.duration_s, 2),
        "confidence": row.item.confidence,
        "wer": row.words.rate,
        "errors": row.words.errors,
        "words": [pair[0] if pair[0] == pair[1] else pair for pair in pairs],
        "audio": source,
    }


def _head(study: Study) -> str:
    evaluation = study.evaluation
    worst, macro = evaluation.worst, evaluation.macro
    worst_cer = evaluation.domains[worst].chars.rate if worst else None
    macro_range = _range(evaluation.macro_ci95["wer"], evaluation.micro.ci95_by)
    tiles = [
        (
            "mean of the domains",
            _percent(macro["wer"]),
            f"WER, {macro_range}",
        ),
        ("all utterances", _percent(evaluation.micro.words.rate), f"WER, {_interval(evaluation.micro)}"),
        (
            "worst domain",
            escape(worst or "–"),
            f"CER {_percent(worst_cer)}",
        ),
    ]
    if evaluation.audio_s_per_core_s is not None:
        tiles.append(("speed", f"{evaluation.audio_s_per_core_s:.0f}", "seconds of audio a core-second"))
    tiles += [
        (f"{gap.second.name} − {gap.first.name}", f"{100 * gap.wer:+.1f}", "points of WER")
        for gap in study.gaps
        if gap.wer is not None
    ]
    about = f"decoder {evaluation.decoder}, text normaliser {evaluation.normalizer}"
    size = f"{evaluation.micro.utterances} utterances, {evaluation.micro.audio_s / 60:.0f} minutes"
    shown = "".join(tile(*parts) for parts in tiles)
    about = f'<p class="quiet">{escape(about)}; {size}</p>'
    return f'<h1>{escape(evaluation.model)}</h1>\n{about}\n<div class="tiles">{shown}</div>'


def _domains(study: Study) -> str:
    domains = study.evaluation.domains
    rates = [score.words.rate or 0.0 for score in domains.values()]
    limits = [score.wer_ci95[1] for score in domains.values() if score.wer_ci95]
    top = max(1e-9, min(max(rates + limits), max(1.0, *rates, 0.0)))  # a limit beyond 100 % does not squeeze the bars
    bars = "".join(
        f"<span>{escape(name)}</span>{_bar(score.words.rate, top, score.wer_ci95)}{_figure(score.words.rate)}"
        for name, score in domains.items()
    )
    few = any(score.ci95_by == "utterance" for score in domains.values())
    remark = " *: too few named speakers, so the interval holds for these speakers only." if few else ""
    cells = [_domain_cells(name, score) for name, score in domains.items()]
    return "\n".join(
        [
            "<h2>Word error rate by domain</h2>",
            f'<div class="card bars">{bars}</div>',
            f'<p class="quiet">The full width is {100 * top:.0f} %; whiskers are 95 % bootstrap intervals.{remark}</p>',
            table(DOMAIN_TITLES, [*cells, _domain_cells("all", study.evaluation.micro)]),
            "<h2>How hard the domains are</h2>",
            table(DIFFICULTY_TITLES, [_difficulty_cells(*item) for item in study.difficulty.items()]),
        ]
    )


def _domain_cells(name: str, score: Score) -> tuple[str, ...]:
    words = score.words
    return (
        name,
        str(score.utterances),
        f"{score.audio_s / 60:.1f}",
        str(words.length),
        _percent(words.rate),
        _interval(score),
        _percent(score.chars.rate),
        *(str(count) for count in (words.substitutions, words.insertions, words.deletions, score.empty)),
        "–" if score.balance is None else f"{score.balance:+.2f}",
    )


def _difficulty_cells(name: str, domain: Difficulty) -> tuple[str, ...]:
    return (
        name,
        str(domain.speakers),
        str(domain.vocabulary),
        _percent(domain.oov_rate),
        f"{domain.words_per_s:.2f}",
        "–" if domain.snr_db is None else f"{domain.snr_db:.0f}",
        "–" if domain.bandwidth_hz is None else f"{domain.bandwidth_hz / 1000:.1f}",
    )


def _gaps(study: Study) -> str:
    parts = []
    for gap in study.gaps:
        groups = (gap.first, gap.second)
        top = max([1e-9, *(group.wer or 0 for group in groups)])
        bars = "".join(
            f"<span>{group.name}</span>{_bar(group.wer, top, second=group is gap.second)}{_figure(group.wer)}"
            for group in groups
        )
        names = "; ".join(f"{group.name}: {escape(', '.join(group.domains))}" for group in groups)
        parts.append(f'<div class="card bars">{bars}</div><p class="quiet">Means of domains. {names}.</p>')
    return "\n".join(["<h2>Gaps</h2>", *parts]) if parts else ""


def _errors(breakdown: Breakdown) -> str:
    lists = [
        ("Most frequent substitutions", ((f"{n}", _arrow(pair)) for pair, n in breakdown.substitutions)),
        ("Words most often lost", ((f"{lost.n_lost} of {lost.n_said}", lost.word) for lost in breakdown.lost)),
        ("Words most often made up", ((f"{n}", word) for word, n in breakdown.insertions)),
        ("Confusions by token", ((f"{n}", _arrow(pair)) for pair, n in breakdown.confusions)),
    ]
    shown = "".join(f'<div class="card"><h3>{title}</h3>{_list(items)}</div>' for title, items in lists)
    factors = []
    for name, bins in breakdown.factors.items():
        top = max([1e-9, *(part.wer or 0 for part in bins)])
        bars = "".join(
            f"<span>{part.low:.2f} to {part.high:.2f}</span>{_bar(part.wer, top)}{_figure(part.wer)}" for part in bins
        )
        factors.append(f'<div class="card"><h3>WER by {escape(name)}</h3><div class="bars">{bars}</div></div>')
    keywords = table(
        ("keyword", "said", "recognised", "recall", "precision", "F1"),
        [
            (k.phrase, str(k.n_said), str(k.n_recognised), _percent(k.recall), _percent(k.precision), _percent(k.f1))
            for k in breakdown.keywords
        ],
    )
    return "\n".join(
        [
            f'<h2>What went wrong</h2><div class="lists">{shown}</div>',
            f'<h2>Where the errors lie</h2><div class="lists">{"".join(factors)}</div>',
            f"<h2>Keywords</h2>{keywords}" if breakdown.keywords else "",
        ]
    )


def _provenance(study: Study) -> str:
    text = json.dumps(dict(study.provenance), indent=1, ensure_ascii=False)
    return f'<h2>How these figures came about</h2><div class="card"><pre>{escape(text)}</pre></div>'


def _figure(rate: float | None) -> str:
    return f'<span class="number">{_percent(rate)}</span>'


def _bar(rate: float | None, top: float, interval: tuple[float, float] | None = None, *, second: bool = False) -> str:
    width = 100 * min(1.0, (rate or 0) / top)
    bar = f'<span class="bar{" second" if second else ""}" style="width:{width:.2f}%"></span>'
    if interval:
        low, high = (100 * min(1.0, limit / top) for limit in interval)
        bar += f'<span class="whisker" style="left:{low:.2f}%;width:{high - low:.2f}%"></span>'
    return f'<span class="track">{bar}</span>'


def _list(items: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"<li><span>{count}</span><span>{escape(text)}</span></li>" for count, text in items)
    return f"<ol>{lines}</ol>" if lines else '<p class="quiet">none</p>'


def _arrow(pair: tuple[str, str]) -> str:
    return f"{pair[0] or '(nothing)'} → {pair[1] or '(nothing)'}"


def _interval(score: Score) -> str:
    return _range(score.wer_ci95, score.ci95_by)


def _range(ci95: tuple[float, float] | None, by: str) -> str:
    return f"{100 * ci95[0]:.1f} – {100 * ci95[1]:.1f} %{'*' if by == 'utterance' else ''}" if ci95 else "–"


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"
