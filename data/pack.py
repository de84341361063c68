"""Packs: a folder with the audio of manifests in a few large WAV files, which loaders map into memory.

``docs/format.md`` specifies it. A manifest that is packed again gets shards with new numbers, beside the old ones, so
that it leads from one whole pack to another at the moment it is replaced.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.manifest import Manifest, Utterance, read_manifest
from data.pack_files import PACK_NAME, TEMPORARY, Draft, Packed, hash_file, read_packed, temporary_path, write_packed
from data.store import Samples, decode
from silero_like import __version__
from silero_like.audio import SAMPLE_RATE
from silero_like.errors import ConfigError, SileroLikeError

BYTES_PER_S = 2 * SAMPLE_RATE
SHORTER_S = 0.01
"""Audio that is less than a feature frame shorter than its manifest says is as long: many round to milliseconds."""
AHEAD_S = 1800.0
"""Audio decoded but not written yet: 58 MB."""


class PackError(SileroLikeError):
    """A pack cannot be written: no space, another process at it, or nothing in it that can be read."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """A source manifest beside what the pack holds of it."""

    name: str
    """File name without suffix."""
    manifest: Manifest
    """The source."""
    sources_sha256: str
    """As in ``Packed``, now."""
    shard_mb: int
    """The option asked for."""
    reason: str
    """Why it has to be packed; "" when the pack holds it already."""

    @property
    def n_bytes(self) -> int:
        """Bytes that packing will write, the manifest's own aside; 0 when there is nothing to do."""
        if not self.reason:
            return 0
        return round(sum(utterance.duration_s for utterance in self.manifest.utterances) * BYTES_PER_S)


@contextlib.contextmanager
def open_pack(folder: str | Path) -> Iterator[Pack]:
    """Open a pack for writing, or begin one; what a killed run left unfinished is removed.

    Raises:
        ConfigError: the folder holds other files, or a pack of a newer format.
        PackError: another process has it open.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        names = {path.name for path in folder.iterdir()} - {temporary_path(folder / PACK_NAME).name}
        if names and PACK_NAME not in names:
            raise ConfigError(f"{folder}: holds files but no {PACK_NAME}: expected a pack, or a new or empty folder")
        for leftover in folder.glob(TEMPORARY.format("*")):
            leftover.unlink()
        yield Pack(folder, read_packed(folder))


class Pack:
    """A pack that is open for writing; see `open_pack`."""

    def __init__(self, folder: Path, packed: dict[str, Packed]) -> None:
        self.folder = folder
        self.packed = packed

    def survey(
        self, manifests: Sequence[str | Path], *, shard_mb: int = 1024, verify: bool = False
    ) -> Iterator[Survey]:
        """Compare source manifests with what is packed of them, one after another.

        Args:
            manifests: paths; the part of their names before the suffix must differ.
            shard_mb: the largest size of a shard in MiB, 1 to 2047; a longer utterance gets a shard of its own.
            verify: compare the hashes of the shards too, not only their sizes.

        Raises:
            ConfigError: names that meet, or a source that lies in the pack.
            ManifestError: a manifest cannot be read.
        """
        paths = [Path(os.path.abspath(path)) for path in manifests]
        for name, count in Counter(path.stem for path in paths).items():
            if count > 1:
                same = " and ".join(str(path) for path in paths if path.stem == name)
                raise ConfigError(f"{same} would both be packed as {name}.jsonl: rename one, or use two packs")
        for path in paths:
            yield self._survey(path, shard_mb, verify)

    def check_space(self, surveys: Sequence[Survey]) -> tuple[int, int]:
        """Return the bytes that packing needs at most at a time, and those that are free.

        Raises:
            PackError: too few are free.
        """
        needed = held = 0
        for survey in surveys:
            needed = max(needed, held + survey.n_bytes)
            if survey.reason and survey.name in self.packed:  # its old files go once the new ones are in place
                held -= sum(file.n_bytes for file in self.packed[survey.name].files.values())
            held += survey.n_bytes
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise PackError(
                f"{self.folder}: packing needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free: free some space, "
                "or use another disk"
            )
        return needed, free

    def update(self, survey: Survey, *, jobs: int, advance: Callable[[Utterance], None] = lambda _: None) -> Packed:
        """Pack a manifest if it has to be, whole or not at all.

        Args:
            survey: what to pack.
            jobs: threads that decode.
            advance: called with each utterance that has been dealt with, in order.

        Raises:
            PackError: no utterance could be read, or writing failed; the pack is as it was.
        """
        if survey.reason:
            try:
                write_packed(self.folder, self.packed)  # from here on the folder is a pack, whatever happens
                self._write(survey, jobs, advance)
            except OSError as error:
                raise PackError(
                    f"{self.folder}: cannot write ({error.strerror or error}): free some space or use another disk, "
                    "and start again; what was packed before is whole"
                ) from error
        self._remove_old_shards(survey.name)
        return self.packed[survey.name]

    def _survey(self, path: Path, shard_mb: int, verify: bool) -> Survey:
        if path.parent.resolve() == self.folder.resolve():
            raise ConfigError(f"{path}: lies in the pack itself: expected the manifest that it is packed from")
        manifest = read_manifest(path)
        sources_sha256 = _hash_sources(manifest)
        reason = "new"
        if packed := self.packed.get(path.stem):
            if (packed.source_sha256, packed.sources_sha256) != (manifest.sha256, sources_sha256):
                self._check_same_source(packed, path, manifest)
                reason = "its source has changed"
            elif packed.shard_mb != shard_mb:
                reason = f"shards of {shard_mb} MiB instead of {packed.shard_mb}"
            else:
                reason = self._damage(packed, verify)
        return Survey(
            name=path.stem, manifest=manifest, sources_sha256=sources_sha256, shard_mb=shard_mb, reason=reason
        )

    def _check_same_source(self, packed: Packed, path: Path, manifest: Manifest) -> None:
        """Refuse to replace what was packed from another manifest of this name."""
        target = self.folder / f"{path.stem}.jsonl"
        if packed.source != str(path) and packed.source_sha256 != manifest.sha256 and target.exists():
            raise ConfigError(
                f"{path}: {target} was packed from another manifest, {packed.source}: use another folder, or delete "
                f"{target} to replace it"
            )

    def _damage(self, packed: Packed, verify: bool) -> str:
        for name, expected in packed.files.items():
            path = self.folder / name
            if not path.is_file():
                return f"{name} is missing"
            if (size := path.stat().st_size) != expected.n_bytes:
                return f"{name} has {size} bytes instead of {expected.n_bytes}"
            # the manifest always: killed between its renaming and pack.json's, a run leaves one that only looks old
            if (verify or path.suffix == ".jsonl") and hash_file(path) != expected.sha256:
                return f"{name} has other contents than were written"
        return ""

    def _write(self, survey: Survey, jobs: int, advance: Callable[[Utterance], None]) -> None:
        manifest, unreadable, n_shorter = survey.manifest, [], 0
        draft = Draft(self.folder, survey.name, self._next_number(survey.name), survey.shard_mb << 20)
        with draft, ThreadPoolExecutor(jobs, "pack") as pool:
            for row, decoding in _decode_ahead(pool, jobs, _rows(manifest)):
                try:
                    samples = decoding.result()
                except SileroLikeError as error:
                    unreadable.append(f"{manifest.path}:{row.line}: {error}")
                else:
                    draft.add(row.fields, samples)
                    n_shorter += row.utterance.duration_s - len(samples) / SAMPLE_RATE > SHORTER_S
                advance(row.utterance)
            if not draft.n_rows:
                first = [*unreadable, *manifest.problems, f"{manifest.path}: empty"][0]
                raise PackError(f"{manifest.path}: no utterance can be read, so nothing was packed; the first: {first}")
            files = draft.commit()
            self.packed[survey.name] = Packed(
                source=str(manifest.path),
                source_sha256=manifest.sha256,
                sources_sha256=survey.sources_sha256,
                shard_mb=survey.shard_mb,
                version=__version__,
                files=files,
                n_utterances=draft.n_rows,
                duration_s=draft.n_samples / SAMPLE_RATE,
                n_shorter=n_shorter,
                unreadable=tuple(unreadable),
            )
            write_packed(self.folder, self.packed)

    def _next_number(self, name: str) -> int:
        """Return the first number that no shard of a manifest has, in the folder or on record."""
        recorded = self.packed[name].files if name in self.packed else ()
        found = (_shard_pattern(name).fullmatch(file) for file in (*recorded, *os.listdir(self.folder)))
        return max((int(match[1]) for match in found if match), default=-1) + 1

    def _remove_old_shards(self, name: str) -> None:
        for file in os.listdir(self.folder):
            if _shard_pattern(name).fullmatch(file) and file not in self.packed[name].files:
                (self.folder / file).unlink()


@dataclass(frozen=True)
class _Row:
    """A good row of a source manifest."""

    line: int
    utterance: Utterance
    fields: dict[str, Any]


def _rows(manifest: Manifest) -> Iterator[_Row]:
    """Read the good rows again, for the fields that an `Utterance` does not hold."""
    data = manifest.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise PackError(f"{manifest.path}: has changed since the packing began: start it again")
    bad = {int(problem.removeprefix(f"{manifest.path}:").partition(":")[0]) for problem in manifest.problems}
    lines = enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1)
    good = ((number, line) for number, line in lines if line.strip() and number not in bad)
    for (number, line), utterance in zip(good, manifest.utterances, strict=True):
        yield _Row(number, utterance, json.loads(line))


def _decode_ahead(pool: ThreadPoolExecutor, jobs: int, rows: Iterator[_Row]) -> Iterator[tuple[_Row, Future[Samples]]]:
    """Yield rows in order with their decoding, a few of each thread and at most `AHEAD_S` of audio ahead."""
    ahead: deque[tuple[_Row, Future[Samples]]] = deque()
    ahead_s = 0.0
    for row in rows:
        duration_s = row.utterance.duration_s
        while ahead and (len(ahead) >= 4 * jobs or ahead_s + duration_s > AHEAD_S):
            ahead_s -= ahead[0][0].utterance.duration_s
            yield ahead.popleft()
        ahead.append((row, pool.submit(decode, row.utterance)))
        ahead_s += duration_s
    yield from ahead


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other packing processes out; the lock goes with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PackError(f"{folder}: another process is packing into it: wait until it is done") from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def _shard_pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(name)}-(\d{{5,}})\.wav")


def _hash_sources(manifest: Manifest) -> str:
    """Hash size and modification time of each row's recording."""
    digest = hashlib.sha256()
    for utterance in manifest.utterances:
        stat = os.stat(utterance.audio_path)
        digest.update(f"{stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
