"""`silero-like serve`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silero_like.cli.model_option import MODEL
from silero_like.cli.number import Number
from silero_like.cli.paths import INPUT_FILE

if TYPE_CHECKING:
    from silero_like.engines import ModelSource

TOKEN_VARIABLE = "SILERO_LIKE_TOKEN"


@click.command()
@click.option(
    "--model",
    "models",
    type=MODEL,
    multiple=True,
    help="Model folder, what runs it if it is not one of ours (pocketsphinx, sherpa-onnx), and what requests call it; "
    "may be repeated [default: bundled English].",
)
@click.option("--lm", "lms", metavar="NAME=PATH", multiple=True, help="Language model that requests may ask for.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 for all of this machine's.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes a free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Serve gRPC there, too [default: no gRPC].")
@click.option("--workers", type=click.IntRange(min=1), help="Processes that transcribe [default: one a core].")
@click.option("--queue", type=click.IntRange(min=0), default=64, show_default=True, help="Requests that may wait.")
@click.option("--max-upload-mb", type=Number(min=0.001), default=100.0, show_default=True)
@click.option("--max-duration", metavar="S", type=Number(min=1), default=3600.0, show_default=True)
@click.option("--max-streams", type=click.IntRange(min=0), default=16, show_default=True, help="Live streams at once.")
@click.option("--timeout", metavar="S", type=Number(min=1), default=300.0, show_default=True)
@click.option("--upload-timeout", metavar="S", type=Number(min=1), default=120.0, show_default=True)
@click.option("--drain", metavar="S", type=Number(min=1), default=30.0, show_default=True)
@click.option("--token-file", type=INPUT_FILE, help=f"Ask for this bearer token [default: ${TOKEN_VARIABLE}, or none].")
@click.option("--log-transcripts", is_flag=True, help="Write what was said into the log.")
def serve(
    models: tuple[ModelSource, ...],
    lms: tuple[str, ...],
    host: str,
    port: int,
    grpc_port: int | None,
    workers: int | None,
    queue: int,
    max_upload_mb: float,
    max_duration: float,
    max_streams: int,
    timeout: float,
    upload_timeout: float,
    drain: float,
    token_file: Path | None,
    log_transcripts: bool,
) -> None:
    """Serve OpenAI's transcription API, live streams and a page.

    POST /v1/audio/transcriptions and GET /v1/models are OpenAI's; WebSocket /v1/stream gives partial and final
    results while somebody speaks; / is a page to try both. --max-duration, in seconds of audio, and --max-upload-mb
    bound a request, --upload-timeout and --timeout the time it takes to come and to be answered. SIGTERM lets
    requests finish, for --drain seconds; SIGHUP, or a change of a model's files, loads the models anew. The log, on
    standard error, is a JSON object a line.

    \b
    Examples:
      silero-like serve
      silero-like serve --model en=models/en --model zh=models/zh --lm news=news.bin
      silero-like serve --model en=models/en --model theirs=sherpa-onnx:models/nemo --model sphinx=pocketsphinx:
      silero-like serve --host 0.0.0.0 --token-file token.txt --workers 4 --grpc-port 50051
      curl -F file=@samples/audiobook.opus -F response_format=srt http://127.0.0.1:8000/v1/audio/transcriptions
    """
    from silero_like.cli.decoder_options import read_hotword_lines
    from silero_like.errors import MissingExtraError

    try:
        from silero_like.serve.server import run_server
        from silero_like.serve.settings import ServeSettings
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"serve needs {error.name}: pip install 'silero_like[serve]'") from error
    if grpc_port is not None:
        _check_grpc()
    settings = ServeSettings(
        models=_models(models),
        language_models=_language_models(lms),
        read_hotwords=read_hotword_lines,
        workers=workers or len(os.sched_getaffinity(0)),
        max_queue=queue,
        max_upload_bytes=round(max_upload_mb * 1e6),
        max_duration_s=max_duration,
        upload_timeout_s=upload_timeout,
        timeout_s=timeout,
        max_streams=max_streams,
        drain_s=drain,
        token=_token(token_file),
        log_transcripts=log_transcripts,
    )
    if not run_server(settings, host=host, port=port, grpc_port=grpc_port):
        click.get_current_context().exit(1)


def _check_grpc() -> None:
    from silero_like.errors import MissingExtraError

    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines on standard error are not JSON
    try:
        import silero_like.serve.rpc  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"--grpc-port needs {error.name}: pip install 'silero_like[grpc]'") from error


def _models(sources: Sequence[ModelSource]) -> dict[str, ModelSource]:
    """Return the models by the names that requests give; the bundled one if there is no source."""
    from silero_like.bundle import BUNDLED_PATH
    from silero_like.engines import OWN, ModelSource

    named: dict[str, ModelSource] = {}
    for source in sources or (ModelSource(OWN, BUNDLED_PATH),):
        name = _name_of(source)
        if name in named:
            raise click.UsageError(f"--model: two models are called {name}: write NAME=...")
        named[name] = source
    return named


def _name_of(source: ModelSource) -> str:
    """Return what requests call a model; a bundle that is not one is told before the workers start."""
    from silero_like.bundle import load_bundle
    from silero_like.engines import OWN

    own_name = source.path.resolve().name if source.path else source.engine
    if source.engine == OWN and source.path:
        own_name = load_bundle(source.path, verify=False).config.name
    return source.name or own_name


def _language_models(values: Sequence[str]) -> dict[str, Path]:
    """Read NAME=PATH of each."""
    named = {}
    for value in values:
        name, path = _named(value)
        if not name or not path.is_file() or name == "none":
            raise click.UsageError(f"--lm: expected NAME=PATH of a file, got {value!r}")
        named[name] = path
    return named


def _named(value: str) -> tuple[str, Path]:
    """Split NAME=PATH; the name is empty where there is a path only."""
    name, separator, path = value.partition("=")
    if not separator or "/" in name or Path(value).exists():
        return "", Path(value)
    return name, Path(path)


def _token(path: Path | None) -> str | None:
    token = path.read_text(encoding="utf-8").strip() if path else os.environ.get(TOKEN_VARIABLE)
    if token is not None and not token:
        raise click.UsageError(f"expected a token in {path or f'${TOKEN_VARIABLE}'}, found nothing")
    return token
