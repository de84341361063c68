"""int8 export: the graph, the bundle and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import soundfile
from click.testing import CliRunner, Result

torch = pytest.importorskip("torch", reason="export needs the train extra")
onnx = pytest.importorskip("onnx", reason="export needs the train extra")

from silero_like.bundle import load_bundle  # noqa: E402
from silero_like.cli import main  # noqa: E402
from silero_like.errors import BundleError  # noqa: E402
from silero_like.export import export_bundle  # noqa: E402
from silero_like.export_int8 import quantize_bundle  # noqa: E402
from silero_like.reference import check_reference  # noqa: E402
from silero_like.runtime import Runtime  # noqa: E402
from train.bundling import bundle_arguments  # noqa: E402
from train.checkpoint import read_checkpoint  # noqa: E402

Array = npt.NDArray[np.float32]
N_WEIGHTS = 64 * (80 * 8 + 64 * 4 + 2 * 128 + 2 * 2 * 256 + 2 * 16 + 3 * 64 + 64 + 2 * 256 + 7)
N_LINEAR = 4 + 2 * 2 + 2 + 4 + 1  # stem, two convolution blocks, one gate, one attention block, head


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of noises."""
    folder = tmp_path_factory.mktemp("speech")
    rows = []
    for number, waveform in enumerate(noises(6)):
        soundfile.write(folder / f"{number}.wav", waveform, 16000)
        rows.append({"audio_filepath": f"{number}.wav", "duration": len(waveform) / 16000, "text": "ab", "domain": "n"})
    (folder / "noises.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "noises.jsonl"


def noises(count: int) -> list[Array]:
    generator = np.random.default_rng(0)
    return [
        (0.1 * generator.standard_normal(16000 + 8000 * (number % 3))).astype(np.float32) for number in range(count)
    ]


@pytest.fixture(scope="module")
def bundles(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The float bundle and the int8 one."""
    folder = tmp_path_factory.mktemp("bundles")
    export_bundle(folder / "float", **bundle_arguments(read_checkpoint(small_checkpoint)))
    quantize_bundle(folder / "float", folder / "int8", noises(6), {"utterances": 6})
    return folder / "float", folder / "int8"


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_the_int8_bundle_says_nearly_the_same_in_fewer_bytes(bundles: tuple[Path, Path]) -> None:
    before, after = (load_bundle(path) for path in bundles)
    saved = before.model_path.stat().st_size - after.model_path.stat().st_size
    assert saved > 0.9 * 3 * N_WEIGHTS  # bytes; scales and nodes take the rest
    assert check_reference(Runtime(after), json.loads((after.path / "reference.json").read_text())) is None
    for waveform in noises(3):
        expected, found = Runtime(before).log_probs(waveform), Runtime(after).log_probs(waveform)
        assert 0 < np.abs(expected - found).mean() < 0.05
        assert (expected.argmax(-1) == found.argmax(-1)).mean() > 0.9


def test_every_layer_runs_as_one_integer_product(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(bundles[1] / "model.onnx"), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert operators.count("QGemm") == N_LINEAR
    assert "DequantizeLinear" not in operators
    report = json.loads((bundles[1] / "quantization.json").read_text())
    assert len(report["layers"]) == N_LINEAR and {layer["type"] for layer in report["layers"].values()} == {"int8"}


def test_int8_rows_of_a_batch_are_what_they_are_alone(bundles: tuple[Path, Path]) -> None:
    runtime = Runtime(load_bundle(bundles[1]))
    for waveform, row in zip(noises(3), runtime.log_probs_batch(noises(3)), strict=True):
        np.testing.assert_allclose(row, runtime.log_probs(waveform), atol=0.05)  # a level more or less, where it rounds


def test_a_layer_that_measures_badly_stays_float(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    report = json.loads((bundles[1] / "quantization.json").read_text())["layers"]
    changes = sorted(layer["kl"] for layer in report.values())
    quantize_bundle(bundles[0], tmp_path / "mixed", noises(6), {}, max_layer_kl=changes[-2])
    layers = json.loads((tmp_path / "mixed" / "quantization.json").read_text())["layers"]
    worst = max(report, key=lambda name: report[name]["kl"])
    assert layers[worst]["type"] == "float32"
    assert sum(layer["type"] == "float32" for layer in layers.values()) <= 2  # rounding of the report may take one more
    gap = [
        np.abs(
            Runtime(load_bundle(path)).log_probs(noises(1)[0])
            - Runtime(load_bundle(bundles[0])).log_probs(noises(1)[0])
        )
        for path in (tmp_path / "mixed", bundles[1])
    ]
    assert gap[0].mean() < gap[1].mean()


def test_the_command_compares_what_it_writes(small_checkpoint: Path, speech: Path, tmp_path: Path) -> None:
    result = export(
        small_checkpoint,
        tmp_path / "int8",
        "--quantize",
        "int8",
        "--calibrate",
        speech,
        "--dev",
        speech,
        "--tolerance",
        100,
    )
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "int8" / "parity.json").read_text())["rows"]
    assert [row["system"] for row in rows] == ["torch", "float", "int8"]
    assert rows[0]["same_text"] == rows[1]["same_text"] == 1.0
    assert rows[0]["domains"]["n"]["cer"] > 0 and rows[2]["size_mb"] < rows[1]["size_mb"]
    assert all(name in result.output for name in ("same text", "linear layers", "torch", "int8"))
    load_bundle(tmp_path / "int8")  # its checksums hold
    again = export(small_checkpoint, tmp_path / "int8", "--dev", speech)  # a bundle may be replaced
    assert again.exit_code == 0 and len(json.loads((tmp_path / "int8" / "parity.json").read_text())["rows"]) == 2


def test_an_int8_export_that_loses_too_much_is_not_written(
    small_checkpoint: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from silero_like.cli import export_parity

    monkeypatch.setattr(export_parity, "worst_loss", lambda before, after: (0.31, "n"))
    arguments = (small_checkpoint, tmp_path / "int8", "--quantize", "int8", "--calibrate", speech, "--dev", speech)
    result = export(*arguments)
    assert result.exit_code == 1 and "int8 costs 0.31 points of CER in n, more than 0.3: nothing" in result.output
    assert result.output.count("once more, with fewer layers") == 2
    assert not any(tmp_path.iterdir())
    assert export(*arguments, "--force", "--layout", "sherpa-onnx").exit_code == 0
    assert (tmp_path / "int8" / "model.int8.onnx").is_file()


def test_the_loss_is_that_of_the_worst_domain(small_checkpoint: Path, speech: Path, bundles: tuple[Path, Path]) -> None:
    from silero_like.cli.export_parity import Parity, read_speech, worst_loss
    from silero_like.tokenizer import Tokenizer

    bundle = load_bundle(bundles[0])
    parity = Parity(read_speech([speech], "en"), bundle.config, Tokenizer(bundle.tokenizer_path))
    silent = np.log(np.full((3, bundle.config.n_labels), 1e-9, np.float32))
    silent[:, -1] = 0
    spoken = silent.copy()
    spoken[1, parity.tokenizer.encode("ab")[-1]] = 1
    worse = parity.measure("worse", 1, lambda waveform: silent)
    better = parity.measure("better", 1, lambda waveform: spoken)
    assert worst_loss(better, worse)[0] > 10 and worst_loss(better, worse)[1] == "n"
    assert worst_loss(worse, better)[0] < -10


def test_without_speech_there_is_no_int8(small_checkpoint: Path, tmp_path: Path) -> None:
    result = export(small_checkpoint, tmp_path / "int8", "--quantize", "int8")
    assert result.exit_code == 1 and "name some by --calibrate" in result.output
    assert not any(tmp_path.iterdir())


def test_bad_speech_is_named_and_left_out(small_checkpoint: Path, speech: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in speech.read_text().splitlines()]
    paths = [speech.parent / row["audio_filepath"] for row in rows[:2]]
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    rows = [row | {"audio_filepath": str(path)} for row, path in zip(rows, paths, strict=False)]
    rows += [rows[0] | {"audio_filepath": "broken.wav"}, rows[0] | {"audio_filepath": "missing.wav"}]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    bad = tmp_path / "bad.jsonl"
    result = export(
        small_checkpoint, tmp_path / "o", "--quantize", "int8", "--calibrate", bad, "--dev", bad, "--tolerance", 100
    )
    assert result.exit_code == 0, result.output
    assert "left out: " in result.output
    assert all(name in result.output for name in ("broken.wav", "missing.wav"))
    assert json.loads((tmp_path / "o" / "parity.json").read_text())["utterances"] == 2
    assert json.loads((tmp_path / "o" / "quantization.json").read_text())["calibration"]["utterances"] == 2


@pytest.mark.parametrize("option", [("--force",), ("--tolerance", "1")])
def test_options_of_int8_need_it(small_checkpoint: Path, tmp_path: Path, option: tuple[str, ...]) -> None:
    result = export(small_checkpoint, tmp_path / "o", *option)
    assert result.exit_code == 2 and "are for --quantize int8" in result.output
    assert not any(tmp_path.iterdir())


def test_int8_of_int8_is_refused(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="int8 already"):
        quantize_bundle(bundles[1], tmp_path / "twice", noises(2), {})
