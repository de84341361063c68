"""Downloads from a server that breaks off, forgets ranges, lies and sends hostile archives."""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

import data.public_sets
import data.unpack
from data.download import DownloadError, RemoteFile, fetch
from data.manifest import read_manifest
from data.public_sets import SETS, PublicSet
from data.readers import READERS
from data.unpack import ArchiveError, unpack
from silero_like.cli import main


@dataclass
class Server:
    """What the server has and how it misbehaves."""

    url: str = ""
    content: bytes = b""
    etag: str = '"1"'
    ranges: bool = True
    break_after: int | None = None
    """Bytes of each answer after which the connection ends."""
    fail: list[int] = field(default_factory=list)
    """Statuses of the next answers."""
    tell_length: bool = True
    asked: list[str] = field(default_factory=list)
    """The Range header of each request."""

    def remote(self, name: str = "a.tar.gz", size_mb: float = 1.0, checksum: str | None = None) -> RemoteFile:
        checksum = f"md5:{hashlib.md5(self.content).hexdigest()}" if checksum is None else checksum
        return RemoteFile(url=f"{self.url}/{name}", size_mb=size_mb, checksum=checksum)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(wanted)
            if state.fail:
                self.send_error(state.fail.pop(0))
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-") or 0) if state.ranges else 0
            if self.headers.get("If-Range", state.etag) != state.etag:
                start = 0
            if start and start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            self.send_header("ETag", state.etag)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.content) - 1}/{len(state.content)}")
            if state.tell_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.break_after])

        def log_message(self, *_: object) -> None: ...

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None: ...  # that a client went away

    with Quiet(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


def get(server: Server, path: Path, **changes: object) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    fetch(server.remote(**changes), path, lambda done, total: seen.append((done, total)), wait_s=0.0)  # type: ignore[arg-type]
    return seen


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_good_server(server: Server, tmp_path: Path) -> None:
    server.content = bytes(range(256)) * 10
    assert get(server, tmp_path / "new" / "a")[-1] == (2560, 2560)
    assert (tmp_path / "new" / "a").read_bytes() == server.content
    assert files(tmp_path) == ["new/a"]
    get(server, tmp_path / "new" / "a")
    assert server.asked == [""]  # what is there is not asked for again


def test_it_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.content, server.break_after = np.random.default_rng(0).bytes(1000), 300
    get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == server.content
    assert server.asked == ["", "bytes=300-", "bytes=600-", "bytes=900-"]


def test_it_goes_on_another_day(server: Server, tmp_path: Path) -> None:
    server.content, server.fail = np.random.default_rng(0).bytes(1000), [503] * 6
    (tmp_path / "a.part").write_bytes(server.content[:400])
    with pytest.raises(DownloadError, match="503 Service Unavailable: tried 5 times again; start again later"):
        get(server, tmp_path / "a")
    server.asked.clear()
    get(server, tmp_path / "a")
    assert server.asked == ["bytes=400-"]
    assert (tmp_path / "a").read_bytes() == server.content and files(tmp_path) == ["a"]


def test_ranges_ignored(server: Server, tmp_path: Path) -> None:
    server.content, server.ranges = np.random.default_rng(0).bytes(1000), False
    (tmp_path / "a.part").write_bytes(b"x" * 700)
    get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == server.content


def test_a_file_that_has_changed_begins_again(server: Server, tmp_path: Path) -> None:
    server.content = b"new" * 300
    (tmp_path / "a.part").write_bytes(b"old" * 200)
    (tmp_path / "a.part.tag").write_text('"0"')
    get(server, tmp_path / "a", checksum="")
    assert (tmp_path / "a").read_bytes() == server.content


def test_more_there_than_the_server_has(server: Server, tmp_path: Path) -> None:
    server.content = b"short"
    (tmp_path / "a.part").write_bytes(b"x" * 700)
    get(server, tmp_path / "a")
    assert server.asked == ["bytes=700-", ""] and (tmp_path / "a").read_bytes() == b"short"


def test_a_server_that_tells_no_length(server: Server, tmp_path: Path) -> None:
    server.content, server.tell_length = b"x" * 5000, False
    assert get(server, tmp_path / "a")[-1] == (5000, 0)


def test_a_server_that_never_gets_further(server: Server, tmp_path: Path) -> None:
    server.content, server.break_after, server.ranges = b"x" * 5000, 100, False
    with pytest.raises(DownloadError, match="broke off: tried 5 times again"):
        get(server, tmp_path / "a")
    assert files(tmp_path) == ["a.part", "a.part.tag"]
    with pytest.raises(DownloadError, match=r"refused.*tried 5 times"):
        fetch(RemoteFile(url="http://127.0.0.1:1/a", size_mb=1), tmp_path / "b", wait_s=0.0)


def test_wrong_bytes_are_deleted(server: Server, tmp_path: Path) -> None:
    server.content = b"good"
    good = server.remote()
    server.content = b"evil"
    with pytest.raises(DownloadError, match=r"md5 [0-9a-f]{32}, expected [0-9a-f]{32}: .*deleted, start again"):
        fetch(good, tmp_path / "a", wait_s=0.0)
    assert files(tmp_path) == []
    server.content = b"good"
    sha256 = f"sha256:{hashlib.sha256(b'good').hexdigest()}"
    get(server, tmp_path / "a", checksum=sha256)


@pytest.mark.parametrize("tell_length", [True, False])
def test_far_more_than_was_published(server: Server, tmp_path: Path, tell_length: bool) -> None:
    server.content, server.tell_length = bytes(1_200_000), tell_length
    with pytest.raises(DownloadError, match=r"more than twice the 0\.05 MB"):
        get(server, tmp_path / "a", size_mb=0.05)


def test_a_page_that_is_gone(server: Server, tmp_path: Path) -> None:
    server.fail = [404]
    with pytest.raises(DownloadError, match="404 Not Found: it may have moved"):
        get(server, tmp_path / "a")
    assert len(server.asked) == 1


def tar(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = name
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def zipped(members: dict[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


GOOD = {"set/a.txt": b"one", "./set/deep/b.txt": "два".encode(), "set/empty": b""}


@pytest.mark.parametrize("content", [tar(GOOD, f"w:{kind}") for kind in ("", "gz", "bz2", "xz")] + [zipped(GOOD)])
def test_good_archives(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    (tmp_path / ".set.unpacking").mkdir()  # of a run that was killed
    (tmp_path / ".set.unpacking" / "half").write_bytes(b"x")
    seen: list[int] = []
    unpack(tmp_path / "a", tmp_path / "set", seen.append)
    assert files(tmp_path / "set") == ["set/a.txt", "set/deep/b.txt", "set/empty"]
    assert (tmp_path / "set/set/deep/b.txt").read_text(encoding="utf-8") == "два" and max(seen) == 9


HOSTILE = {
    "above": tar({"ok": b"x", "../evil": b"x"}),
    "far above": tar({"a/../../evil": b"x"}),
    "absolute": tar({"/tmp/silero-like-evil": b"x"}),
    "backslash": tar({"..\\evil": b"x"}),
    "drive": tar({"C:evil": b"x"}),
    "link": tar({"a": special(tarfile.SYMTYPE, "/etc"), "a/evil": b"x"}),
    "hard link": tar({"a": special(tarfile.LNKTYPE, "../evil")}),
    "device": tar({"a": special(tarfile.CHRTYPE)}),
    "pipe": tar({"a": special(tarfile.FIFOTYPE)}),
    "zip above": zipped({"../evil": b"x"}),
    "zip absolute": zipped({"/evil": b"x"}),
    "zip link": zipped({"a": b"/etc/passwd"}, stat.S_IFLNK | 0o777),
    "file and folder": tar({"a": b"x", "a/b": b"x"}),
    "bomb": tar({"zeros": bytes(20_000_000)}),
    "bomb of many": tar({str(number): bytes(1_000_000) for number in range(20)}),
    "zip bomb": zipped({"zeros": bytes(20_000_000)}),
    "cut": tar(GOOD)[:-12],
    "cut in a file": tar({"a": np.random.default_rng(0).bytes(9000)})[:5000],
    "flipped": tar({"a": np.random.default_rng(0).bytes(9000)}).replace(b"\x00", b"\x01"),
    "zip flipped": zipped(GOOD).replace(b"one", b"two").replace(b"set/a", b"set/z", 1),
    "no archive": b"<html>Please sign in</html>" * 100,
    "nothing": b"",
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_archives_leave_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.unpack, "SMALL_BYTES", 2_000_000)
    box = tmp_path / "box"
    box.mkdir()
    (box / "a").write_bytes(HOSTILE[name])
    with pytest.raises(ArchiveError, match=str(box / "a")):
        unpack(box / "a", box / "set")
    assert files(tmp_path) == ["box/a"] and not Path("/tmp/silero-like-evil").exists()
    assert not (box / ".set.unpacking").exists()


def test_the_table_makes_sense() -> None:
    for name, public in SETS.items():
        assert public.format in READERS or (public.format == "" and public.noises), name
        assert public.archive.url.startswith("https://") and public.licence and public.about
        kind, _, digest = public.archive.checksum.partition(":")
        assert (kind, len(digest)) in {("md5", 32), ("sha256", 64), ("", 0)}
        assert public.archive.checksum or public.about.startswith("Open STT")
    recipes = Path(__file__).resolve().parents[2] / "recipes"
    for recipe in ("librispeech-100", "librispeech-960", "mini-librispeech", "open-stt-ru"):
        lines = (recipes / f"{recipe}.yaml").read_text(encoding="utf-8").splitlines()
        named = re.findall(r"([\w-]+)\.jsonl", " ".join(line for line in lines if not line.startswith("#")))
        assert named and set(named) <= set(SETS)


def wav(seconds: float = 0.5, kind: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(int(16000 * seconds)), 16000, format=kind)
    return buffer.getvalue()


def download(*arguments: str | Path, answer: str | None = None) -> Result:
    return CliRunner().invoke(main, ["data", "download", *map(str, arguments)], input=answer)


@pytest.fixture
def mini(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The table's Mini LibriSpeech, on our server."""
    chapter = "LibriSpeech/train-clean-5/19/198"
    lines = "19-198-0000 NORTHANGER ABBEY\n19-198-0001 GONE\n"
    server.content = tar(
        {f"{chapter}/19-198-0000.flac": wav(kind="FLAC"), f"{chapter}/19-198.trans.txt": lines.encode()}
    )
    public = PublicSet(about="a set", licence="CC BY 4.0", archive=server.remote("t5.tar.gz"), format="librispeech")
    monkeypatch.setitem(SETS, "train-clean-5", public)
    monkeypatch.setattr(data.public_sets, "fetch", lambda *arguments: fetch(*arguments, wait_s=0.0))
    return server


def test_the_command(mini: Server, tmp_path: Path) -> None:
    mini.break_after = 200
    result = download("train-clean-5", tmp_path / "dest", "--json", tmp_path / "s.json", answer="y\n")
    assert result.exit_code == 1  # a row has no audio
    assert result.stderr.index("0.0 GB, CC BY 4.0") < result.stderr.index("Download?")
    assert f"{tmp_path}/dest/train-clean-5.jsonl: 1 utterances" in result.stderr
    assert "Error: no audio file: 1 of 2 rows" in result.stderr
    (row,) = read_manifest(tmp_path / "dest" / "train-clean-5.jsonl").utterances
    assert (row.text, row.speaker, row.domain, row.duration_s) == ("NORTHANGER ABBEY", "19", "clean", 0.5)
    assert json.loads((tmp_path / "s.json").read_text())["sets"]["train-clean-5"]["utterances"] == 1
    assert sorted(path.name for path in (tmp_path / "dest").iterdir()) == ["train-clean-5", "train-clean-5.jsonl"]
    n_asked = len(mini.asked)
    download("train-clean-5", tmp_path / "dest", "--yes")
    assert len(mini.asked) == n_asked


def test_nothing_without_a_yes(mini: Server, tmp_path: Path) -> None:
    for answer in ("n\n", None):
        result = download("train-clean-5", tmp_path / "dest", answer=answer)
        assert result.exit_code == 1 and "Aborted!" in result.stderr
    assert not mini.asked and not (tmp_path / "dest").exists()
    assert download("train-clean-7", tmp_path / "dest").exit_code == 2


def test_the_rest_of_the_sets_is_done(mini: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mini.fail = [404]
    lost = PublicSet(about="lost", licence="CC0", archive=mini.remote("lost.zip"), format="librispeech")
    monkeypatch.setitem(SETS, "lost", lost)
    result = download("lost", "train-clean-5", tmp_path, "--yes", "--keep-archive")
    assert result.exit_code == 1 and "lost.zip: 404 Not Found" in result.stderr and "Traceback" not in result.stderr
    assert (tmp_path / "train-clean-5.jsonl").exists() and (tmp_path / "t5.tar.gz").exists()


def test_open_stt_and_noise(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "asr_calls_2_val"
    server.content = tar({f"{name}/0/00/a.wav": wav(), f"{name}/0/00/a.txt": "алло\n".encode()})
    listed = Server(url=server.url, content=f"{name}/0/00/a.wav,{name}/0/00/a.txt,0.5\r\n".encode())
    archive, contents = server.remote(f"{name}.tar.gz", checksum=""), server.content
    public = PublicSet(
        about="x", licence="x", archive=archive, manifest=listed.remote(f"{name}.csv", checksum=""), format="open-stt"
    )
    monkeypatch.setitem(SETS, name, public)
    (tmp_path / f"{name}.csv").write_bytes(listed.content)
    assert download(name, tmp_path, "--yes").exit_code == 0
    (row,) = read_manifest(tmp_path / f"{name}.jsonl", strict=True).utterances
    assert (row.text, row.lang, row.domain, row.annotation) == ("алло", "ru", "calls", "manual")
    assert contents == server.content

    server.content = zipped({"R/noise/n.wav": wav(), "R/rooms/x_rir_1.wav": wav(), "R/rooms/x_noise.wav": wav()})
    noise = PublicSet(
        about="rooms", licence="Apache 2.0", archive=server.remote("r.zip"), noises=("R/noise/*.wav",),
        responses=("R/rooms/*rir*.wav",),
    )  # fmt: skip
    monkeypatch.setitem(SETS, "rirs-noises", noise)
    result = download("rirs-noises", tmp_path, "--yes")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "rirs-noises.json").read_text())
    assert [(row["file"], row["kind"]) for row in rows] == [
        ("rirs-noises/R/noise/n.wav", "noise"),
        ("rirs-noises/R/rooms/x_rir_1.wav", "rir"),
    ]


def test_list() -> None:
    result = download("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(SETS)
    assert "CC BY-NC 4.0" in result.stdout
