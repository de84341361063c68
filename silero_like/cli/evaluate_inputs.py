"""What `evaluate` and `compare` read: manifests, transcripts of other systems, keyword lists, and the text rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.batch import Batch
from silero_like.errors import SileroLikeError

if TYPE_CHECKING:
    from data.manifest import Manifest, Utterance
    from data.text import Normalizer
    from silero_like.bundle import BundleConfig
    from silero_like.evaluation.hypotheses import Matched
    from silero_like.evaluation.scoring import Scored


@dataclass(frozen=True)
class TextRule:
    """How texts are made comparable: a normaliser, and perhaps one writing for numbers and letters."""

    normalizer: Normalizer
    alike: bool

    @property
    def label(self) -> str:
        """What results record: "en-1" or "en-1+alike-1"."""
        from silero_like.evaluation import alike

        return f"{self.normalizer.label}+{alike.LABEL}" if self.alike else self.normalizer.label

    def apply(self, scored: Scored) -> Scored:
        """Rewrite both texts, if numbers and letters are to be alike; the normaliser itself is left to the scoring."""
        if not self.alike:
            return scored
        from decode.words import split_words
        from silero_like.evaluation.alike import write_alike

        texts = (split_words(self.normalizer(text)) for text in (scored.reference, scored.hypothesis))
        reference, hypothesis = write_alike(*texts)
        return dataclasses.replace(scored, reference=" ".join(reference), hypothesis=" ".join(hypothesis))


def text_rule(lang: str, alike: bool) -> TextRule:
    """Return the rule of a language, or of a recorded label.

    Raises:
        SileroLikeError: an unknown language or version; or `alike` for another language than English.
    """
    from data.text import get_normalizer

    name, _, suffix = lang.partition("+")
    rule = TextRule(get_normalizer(name), alike or bool(suffix))
    if rule.alike and rule.normalizer.name != "en":
        raise SileroLikeError(f"--alike is for English, got {rule.normalizer.name}: leave it out")
    if suffix and rule.label != lang:
        raise SileroLikeError(f"no text rule {lang!r}: this release has {rule.label}")
    return rule


def check_lang(lang: str | None, config: BundleConfig | None) -> str | None:
    """Return the language of the rows to read: the model's, if it is one of ours."""
    if config and lang not in (None, config.lang):
        raise click.UsageError(f"--lang {lang}: the model is for {config.lang}: leave --lang out")
    return config.lang if config else lang


def read_training(paths: Sequence[Path], batch: Batch) -> list[Utterance]:
    """Read what a model learned from, without its recordings; bad rows are told and counted as failures.

    Raises:
        SileroLikeError: a manifest cannot be read, or there is no usable row in any.
    """
    from data.manifest import read_manifest

    manifests = [read_manifest(path, check_audio=False) for path in paths]
    for manifest in manifests:
        _tell_problems(manifest, batch)
    utterances = [utterance for manifest in manifests for utterance in manifest.utterances]
    if paths and not utterances:
        raise SileroLikeError(f"expected manifests of the training data, got no usable row in {paths[0]}: check it")
    return utterances


def _tell_problems(manifest: Manifest, batch: Batch) -> None:
    if manifest.problems and not manifest.utterances:
        batch.fail(f"{manifest.problems[0]} (nor is any other line a row: is this a manifest?)")
        return
    for problem in manifest.problems:
        batch.fail(problem)


def read_utterances(
    paths: Sequence[Path], lang: str | None, batch: Batch
) -> tuple[list[Utterance], str, dict[str, str]]:
    """Read the rows of one language; bad and repeated rows are told and counted as failures.

    Args:
        paths: manifests.
        lang: a language code; the rows' own when None.

    Returns:
        the rows, their language, and the SHA-256 of every manifest by its name.

    Raises:
        SileroLikeError: a manifest cannot be read, or `lang` is None and the rows name no language or several.
    """
    from data.manifest import DEFAULT_DOMAIN, read_manifest

    manifests = [read_manifest(path) for path in paths]
    langs = {utterance.lang for manifest in manifests for utterance in manifest.utterances} - {""}
    if lang is None and len(langs) != 1:
        raise SileroLikeError(f"expected rows of one language, got {sorted(langs) or 'no lang'}: give --lang")
    lang = lang or langs.pop()
    utterances: dict[tuple[Path, float], Utterance] = {}
    for manifest in manifests:
        path = manifest.path
        _tell_problems(manifest, batch)
        usable = [utterance for utterance in manifest.utterances if utterance.lang in ("", lang)]
        if n_other := len(manifest.utterances) - len(usable):
            click.echo(f"{path}: {n_other} rows are not in {lang} and were left out", err=True)
        if n_unknown := sum(utterance.domain == DEFAULT_DOMAIN for utterance in usable):
            click.echo(f"{path}: {n_unknown} rows name no domain and count as {DEFAULT_DOMAIN!r}", err=True)
        for utterance in usable:
            if utterances.setdefault((utterance.audio_path, utterance.offset_s), utterance) is not utterance:
                batch.fail(f"{path}: {name_of(utterance)} is in an earlier manifest too and counts once")
    return list(utterances.values()), lang, {str(manifest.path): manifest.sha256 for manifest in manifests}


def match_file(path: Path, utterances: Sequence[Utterance], batch: Batch) -> Matched:
    """Return what a file of transcripts says of every utterance; lines of it that cannot be used are told."""
    from silero_like.evaluation.hypotheses import Segment, match_hypotheses, read_hypotheses

    hypotheses, problems = read_hypotheses(path)
    matched = match_hypotheses([Segment(u.audio_path, u.offset_s, u.duration_s) for u in utterances], hypotheses)
    for problem in (*problems, *matched.problems):
        batch.fail(problem)
    return matched


def texts_in_file(path: Path, utterances: Sequence[Utterance], batch: Batch) -> list[str]:
    """Return the text of every utterance from a file of transcripts; what is missing is told and counts as empty."""
    matched = match_file(path, utterances, batch)
    for utterance, text in zip(utterances, matched.texts, strict=True):
        if text is None:
            batch.fail(f"{path}: no hypothesis for {name_of(utterance)}, which counts as an empty one")
    return [text or "" for text in matched.texts]


def read_keywords(path: Path, rule: TextRule) -> list[tuple[str, ...]]:
    """Read keywords and phrases, one a line, `#` opening a comment; return their normalised words.

    What stands behind a tab is left out: it is the weight in a file of hotwords.

    Raises:
        SileroLikeError: the file cannot be read, or holds no keyword.
    """
    from decode.words import split_words

    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SileroLikeError(f"{path}: cannot read the keywords ({error})") from error
    keywords = [tuple(split_words(rule.normalizer(line.partition("#")[0].partition("\t")[0]))) for line in lines]
    if not any(keywords):
        raise SileroLikeError(f"{path}: expected a keyword or phrase on each line, got none")
    return list(dict.fromkeys(keyword for keyword in keywords if keyword))


def check_domains(names: Collection[str], known: Collection[str], option: str) -> None:
    """Refuse names of domains that the manifests do not have."""
    if unknown := sorted(set(names) - set(known)):
        raise click.UsageError(
            f"{option}: no utterance is of the domain {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )


def name_of(utterance: Utterance) -> str:
    """Name an utterance: its recording, and where in it."""
    return str(utterance.audio_path) + (f" at {utterance.offset_s:g} s" if utterance.offset_s else "")
