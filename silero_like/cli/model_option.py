"""`--model`: a bundle, or what another engine runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from silero_like.engines import ModelSource

    ParamType = click.ParamType[ModelSource]
else:
    ParamType = click.ParamType


class BundleType(click.Path):
    """The folder of a bundle, or the name of an installed one."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from silero_like.bundle import find_bundle

        return super().convert(value and str(find_bundle(value)), param, ctx)


BUNDLE = BundleType(exists=True)
BUNDLE_FOLDER = BundleType(exists=True, file_okay=False, path_type=Path)
bundle_option = click.option(
    "--model", metavar="BUNDLE", type=BUNDLE, help="Model folder, or en-tiny: the smaller bundled one [default: en]."
)


class ModelType(ParamType):
    """`[NAME=][ENGINE:]PATH`, as `silero_like.engines.ModelSource`."""

    name = "[NAME=][ENGINE:]PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ModelSource:
        from silero_like.engines import parse_source
        from silero_like.errors import ConfigError

        try:
            source = parse_source(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)
        if source.path and not source.path.is_dir():
            self.fail(f"{source.path}: expected a model's folder, found none: check the path", param, ctx)
        return source


MODEL = ModelType()
"""The type of `--model` where other engines are taken, too."""
