"""The public sets that the recipes use: where they lie, how large they are, on what terms, how to check and read them.

Checksums are those that OpenSLR and the authors of LJSpeech publish. None are known of Open STT's Opus archives: there
the size and the archive's own checks must do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.download import RemoteFile, fetch
from data.importer import ImportOptions, import_rows
from data.manifest import write_whole
from data.readers import READERS
from data.sources import Source
from data.summary import Summary
from data.unpack import unpack
from silero_like.errors import ConfigError

OPENSLR = "https://www.openslr.org/resources"
OPEN_STT = "https://azureopendatastorage.blob.core.windows.net/openstt/ru_open_stt_opus"
CC_BY = "CC BY 4.0"

Advance = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class PublicSet:
    """A set that can be downloaded."""

    about: str
    """What it is, in a few words."""
    licence: str
    archive: RemoteFile
    manifest: RemoteFile | None = None
    """A list of the archive's recordings that lies beside it."""
    format: str = ""
    """How its speech is read, one of `READERS`; "" for noise and rooms."""
    noises: tuple[str, ...] = ()
    """Patterns of clips of noise below its folder."""
    responses: tuple[str, ...] = ()
    """Patterns of room responses."""

    @property
    def size_mb(self) -> float:
        """About how much is to be fetched, in millions of bytes."""
        return self.archive.size_mb + (self.manifest.size_mb if self.manifest else 0)


def _librispeech(number: int, name: str, size_mb: float, md5: str) -> PublicSet:
    archive = RemoteFile(url=f"{OPENSLR}/{number}/{name}.tar.gz", size_mb=size_mb, checksum=f"md5:{md5}")
    about = "Mini LibriSpeech" if number == 31 else "LibriSpeech"
    return PublicSet(about=f"{about}, read English", licence=CC_BY, archive=archive, format="librispeech")


def _open_stt(name: str, size_gb: float, about: str) -> PublicSet:
    return PublicSet(
        about=f"Open STT, Russian {about}",
        licence="CC BY-NC 4.0 (commercial use: ask its authors)",
        archive=RemoteFile(url=f"{OPEN_STT}/archives/{name}.tar.gz", size_mb=1000 * size_gb),
        manifest=RemoteFile(url=f"{OPEN_STT}/manifests/{name}.csv", size_mb=5 + 8 * size_gb),
        format="open-stt",
    )


SETS = {
    "train-clean-5": _librispeech(31, "train-clean-5", 332, "5df7d4e78065366204ca6845bb08f490"),
    "dev-clean-2": _librispeech(31, "dev-clean-2", 126, "6d7ab67ac6a1d2c993d050e16d61080d"),
    "train-clean-100": _librispeech(12, "train-clean-100", 6387, "2a93770f6d5c6c964bc36631d331a522"),
    "train-clean-360": _librispeech(12, "train-clean-360", 23000, "c0e676e450a7ff2f54aeade5171606fa"),
    "train-other-500": _librispeech(12, "train-other-500", 30600, "d1a0fd59409feb2c614ce4d30c387708"),
    "dev-clean": _librispeech(12, "dev-clean", 338, "42e2234ba48799c1f50f24a7926300a1"),
    "dev-other": _librispeech(12, "dev-other", 314, "c8d0bcc9cca99d4f8b62fcc847357931"),
    "test-clean": _librispeech(12, "test-clean", 347, "32fa31d27d2e1cad72775fee3f4849a9"),
    "test-other": _librispeech(12, "test-other", 329, "fb5a50374b501bb3bac4815ee91d3135"),
    "ljspeech": PublicSet(
        about="LJSpeech 1.1, one reader of English",
        licence="public domain",
        archive=RemoteFile(
            url="https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            size_mb=2749,
            checksum="md5:c4763be9595ddfa79c2fc6eaeb3b6c8e",
        ),
        format="ljspeech",
    ),
    "musan": PublicSet(
        about="MUSAN, noise (its music and speech are unpacked, not listed)",
        licence=f"{CC_BY}, the recordings' own besides",
        archive=RemoteFile(
            url=f"{OPENSLR}/17/musan.tar.gz", size_mb=11086, checksum="md5:0c472d4fc0c5141eca47ad1ffeb2a7df"
        ),
        noises=("musan/noise/*/*.wav",),
    ),
    "rirs-noises": PublicSet(
        about="room responses and noise (simulated ones are unpacked, not listed)",
        licence="Apache 2.0",
        archive=RemoteFile(
            url=f"{OPENSLR}/28/rirs_noises.zip", size_mb=1311, checksum="md5:e6f48e257286e05de56413b4779d8ffb"
        ),
        noises=("RIRS_NOISES/pointsource_noises/*.wav",),
        responses=("RIRS_NOISES/real_rirs_isotropic_noises/*rir*.wav",),
    ),
    "private_buriy_audiobooks_2": _open_stt("private_buriy_audiobooks_2", 25.8, "books, aligned"),
    "public_youtube700": _open_stt("public_youtube700", 12.2, "YouTube, subtitles"),
    "public_youtube1120": _open_stt("public_youtube1120", 19.0, "YouTube, subtitles"),
    "public_youtube1120_hq": _open_stt("public_youtube1120_hq", 4.9, "YouTube, subtitles"),
    "asr_public_phone_calls_1": _open_stt("asr_public_phone_calls_1", 3.2, "calls, recognised"),
    "asr_public_phone_calls_2": _open_stt("asr_public_phone_calls_2", 9.4, "calls, recognised"),
    "asr_public_stories_1": _open_stt("asr_public_stories_1", 0.7, "books, recognised"),
    "asr_public_stories_2": _open_stt("asr_public_stories_2", 1.4, "books, recognised"),
    "radio_2": _open_stt("radio_2", 24.6, "radio, aligned"),
    "public_series_1": _open_stt("public_series_1", 0.3, "YouTube, subtitles"),
    "public_lecture_1": _open_stt("public_lecture_1", 0.1, "lectures"),
    "asr_calls_2_val": _open_stt("asr_calls_2_val", 0.8, "calls, by people"),
    "buriy_audiobooks_2_val": _open_stt("buriy_audiobooks_2_val", 0.5, "books, by people"),
    "public_youtube700_val": _open_stt("public_youtube700_val", 0.13, "YouTube, by people"),
}
"""Name -> set. The names are those of the manifests in the recipes."""


def download_set(name: str, public: PublicSet, dest: Path, jobs: int, keep: bool, advance: Advance) -> Summary | None:
    """Fetch, check and unpack a set into ``DEST/NAME``, and write ``DEST/NAME.jsonl``, or ``NAME.json`` for noise.

    What is done of it is not done again.

    Args:
        name: of the set.
        public: the set.
        dest: the folder for all sets.
        jobs: threads that look at recordings.
        keep: leave the archive in ``DEST``.
        advance: called with what is going on, how far it is and how far it goes (0 when nobody knows).

    Returns:
        what became of the rows; None for noise.

    Raises:
        DownloadError, ArchiveError, ManifestError, ConfigError: what went wrong; start again, it goes on.
    """
    folder, archive, listed = dest / name, dest / public.archive.name, dest / f"{name}.csv"
    if public.manifest:
        fetch(public.manifest, listed, lambda done, total: advance("manifest", done, total))
    if not folder.exists():
        fetch(public.archive, archive, lambda done, total: advance("archive", done, total))
        unpack(archive, folder, lambda done: advance("unpacking", done, 0))
    if not keep:
        archive.unlink(missing_ok=True)
    if not public.format:
        _write_index(public, folder, dest / f"{name}.json")
        return None
    source = Source(path=listed, audio_root=folder) if public.manifest else Source(path=_root(public, folder))
    rows = READERS[public.format].read(source)
    options = ImportOptions(jobs=jobs)
    return import_rows(rows, source, dest / f"{name}.jsonl", options, lambda told: advance("rows", told.rows, 0))


def _root(public: PublicSet, folder: Path) -> Path:
    """Return the folder that the format's reader wants."""
    if public.format == "ljspeech":
        return next((path.parent for path in folder.rglob("metadata.csv")), folder)
    return folder


def _write_index(public: PublicSet, folder: Path, out: Path) -> None:
    """List clips as ``augment.noise`` of a recipe wants them."""
    rows = [
        {"file": path.relative_to(out.parent).as_posix(), "kind": kind, "source": f"{public.about} ({public.licence})"}
        for kind, patterns in (("noise", public.noises), ("rir", public.responses))
        for pattern in patterns
        for path in sorted(folder.glob(pattern))
    ]
    if not rows:
        raise ConfigError(f"{folder}: none of the clips that were expected: {', '.join(public.noises)}: look at it")
    with write_whole(out) as temporary:
        temporary.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_space(sets: list[PublicSet], dest: Path) -> tuple[float, float]:
    """Return about how many GB the archives and what they hold need together, and how many are free."""
    existing = next(folder for folder in (dest, *dest.absolute().parents) if folder.is_dir())
    return sum(2.2 * public.size_mb for public in sets) / 1000, shutil.disk_usage(existing).free / 1e9
