"""The server behind `silero-like serve`; it needs the [serve] extra (``docs/serving.md``)."""
