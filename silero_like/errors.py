"""The errors a caller may want to catch. Messages say what was found, what was expected and the cure."""


class SileroLikeError(Exception):
    """Base of every error this project raises on purpose."""


class AudioError(SileroLikeError):
    """One recording cannot be read or is not speech-like audio."""


class ManifestError(SileroLikeError):
    """A manifest is malformed; the message starts with ``path:line:``."""


class ConfigError(SileroLikeError):
    """A recipe or configuration holds an unknown key or an impossible value."""


class BundleError(SileroLikeError):
    """A model bundle is damaged, incomplete, tampered with or of a newer format."""


class MissingExtraError(SileroLikeError):
    """An optional dependency is absent; the message gives the pip line that installs it."""
