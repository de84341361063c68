"""The command's options, and answers in every language, without a server."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("fastapi", reason="needs the [serve] extra")

from decode.words import Word
from silero_like.cli import main
from silero_like.engines import ModelSource
from silero_like.recognizer import Transcript
from silero_like.serve import server
from silero_like.serve.answers import render_answer
from silero_like.serve.messages import Options, Transcription
from silero_like.serve.settings import ServeSettings

TEXTS = {"en": "see you tomorrow", "ru": "до завтра", "zh": "明天见 ok"}
WORDS = {"en": ["see", "you", "tomorrow"], "ru": ["до", "завтра"], "zh": ["明", "天", "见", "ok"]}
NAMES = {"en": "english", "ru": "russian", "zh": "chinese"}


def said(lang: str) -> Transcript:
    words = tuple(Word(word, 0.5 * n, 0.5 * n + 0.4, 0.9) for n, word in enumerate(WORDS[lang]))
    return Transcript("", 3.0, TEXTS[lang], 0.9, words, "m")


def answer(lang: str, format_: Any, **options: Any) -> str:
    request = Transcription(options=Options(model="m"), format=format_, **options)
    return render_answer(said(lang), request, lang).body


@pytest.mark.parametrize("lang", TEXTS)
def test_every_format_in_every_language(lang: str) -> None:
    assert json.loads(answer(lang, "json")) == {"text": TEXTS[lang]}
    assert answer(lang, "text") == TEXTS[lang] + "\n"
    assert TEXTS[lang] in answer(lang, "json")  # readable, not escaped
    assert f"\n{TEXTS[lang]}\n" in answer(lang, "srt") and f"\n{TEXTS[lang]}\n" in answer(lang, "vtt")
    verbose = json.loads(answer(lang, "verbose_json", words=True))
    assert (verbose["language"], verbose["text"]) == (NAMES[lang], TEXTS[lang])
    assert [word["word"] for word in verbose["words"]] == WORDS[lang]
    assert [segment["text"] for segment in verbose["segments"]] == [TEXTS[lang]]
    assert "segments" not in json.loads(answer(lang, "verbose_json", words=True, segments=False))


def test_silence_has_no_segments() -> None:
    request = Transcription(options=Options(model="m"), format="verbose_json", words=True)
    verbose = json.loads(render_answer(Transcript("", 1.0, "", 0.0, (), "m"), request, "en").body)
    assert (verbose["text"], verbose["words"], verbose["segments"]) == ("", [], [])


def invoke(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ["serve", *arguments], env=environment)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the command tells the server, which does not start."""
    calls: list[Any] = []

    def run(settings: ServeSettings, **address: Any) -> bool:
        calls.append((settings, address))
        return True

    monkeypatch.setattr(server, "run_server", run)
    return calls


def test_the_options_reach_the_server(
    told: list[Any], bundled_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silero_like.cli.serve._check_grpc", lambda: None)  # it is another extra
    token, lm = tmp_path / "token", tmp_path / "my.arpa"
    token.write_text("a secret\n")
    lm.touch()
    result = invoke(
        "--model", str(bundled_model), "--model", f"other={bundled_model}", "--lm", f"mine={lm}", "--workers", "3",
        "--queue", "5", "--max-upload-mb", "2.5", "--max-duration", "60", "--timeout", "7", "--upload-timeout", "8",
        "--drain", "9", "--max-streams", "4", "--port", "0", "--grpc-port", "7",
        "--token-file", str(token), "--log-transcripts",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    ((settings, address),) = told
    assert {name: source.path for name, source in settings.models.items()} == dict.fromkeys(
        ["en", "other"], bundled_model
    )
    assert settings.language_models == {"mine": lm}
    assert (settings.workers, settings.max_queue, settings.max_upload_bytes) == (3, 5, 2_500_000)
    assert (settings.max_duration_s, settings.timeout_s, settings.upload_timeout_s, settings.drain_s) == (60, 7, 8, 9)
    assert (settings.max_streams, settings.token, settings.log_transcripts) == (4, "a secret", True)
    assert address == {"host": "127.0.0.1", "port": 0, "grpc_port": 7}
    assert "secret" not in repr(settings)


def test_other_engines_reach_the_server(told: list[Any], tmp_path: Path) -> None:
    result = invoke("--model", f"sherpa-onnx:{tmp_path}", "--model", "sphinx=pocketsphinx:")
    assert result.exit_code == 0, result.output
    ((settings, _),) = told
    assert settings.models == {
        tmp_path.name: ModelSource("sherpa-onnx", tmp_path), "sphinx": ModelSource("pocketsphinx", None, "sphinx")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--model", "a={bundle}", "--model", "a={bundle}"], {}, "two models are called a"),
        (["--model", "a=sherpa-onnx:"], {}, "add the path"),
        (["--lm", "mine"], {}, "expected NAME=PATH"),
        (["--lm", "mine=/nowhere"], {}, "expected NAME=PATH of a file"),
        (["--lm", "none={bundle}/lm.bin"], {}, "expected NAME=PATH"),
        ([], {"SILERO_LIKE_TOKEN": ""}, "expected a token in $SILERO_LIKE_TOKEN"),
    ],
)
def test_wrong_usage(
    told: list[Any], bundled_model: Path, arguments: list[str], environment: dict[str, str], message: str
) -> None:
    result = invoke(*(part.format(bundle=bundled_model) for part in arguments), environment=environment)
    assert result.exit_code == 2 and message in result.output and not told


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "silero_like.serve.server")
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "silero_like.serve.app")
    result = invoke()
    assert result.exit_code == 1 and "pip install 'silero_like[serve]'" in result.output


def test_without_grpc_it_says_how_to_get_it(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "silero_like.serve.rpc", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    result = invoke("--grpc-port", "0")
    assert result.exit_code == 1 and "pip install 'silero_like[grpc]'" in result.output and not told


@pytest.mark.parametrize("model", ["/nowhere", "x=/nowhere"])
def test_a_model_that_is_not_there(told: list[Any], model: str) -> None:
    result = invoke("--model", model)
    assert result.exit_code == 2 and "check the path" in " ".join(result.output.split()) and not told
