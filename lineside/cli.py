"""The `lineside` command.

The core's own commands are listed here; the tools register theirs as entry points in the group
`lineside.commands`. A module is imported when its command is called, so that `lineside --help`
is quick and a missing extra stops only the command that needs it.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from importlib.metadata import entry_points
from typing import Final

import click
from typing_extensions import override

from lineside import __version__
from lineside.errors import LinesideError

_CORE: Final = {  # command -> module:attribute
    "bench": "lineside.bench.command:bench",
    "demo": "lineside.demo:demo",
    "evaluate": "lineside.evaluate:evaluate",
    "inspect": "lineside.inspect:inspect",
    "keys": "lineside.keys:keys",
    "verify": "lineside.verify:verify",
    "watch": "lineside.watch:watch",
}
_HELP_ORDER: Final = (
    *("demo", "data", "train", "evaluate", "convert", "keys", "verify", "inspect"),
    *("bench", "agent", "watch", "deploy"),
)


class _Commands(click.Group):
    """Commands that are imported when they are called."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        names = set(_CORE) | {entry.name for entry in entry_points(group="lineside.commands")}
        return sorted(names, key=lambda n: (_HELP_ORDER.index(n) if n in _HELP_ORDER else 99, n))

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _CORE:
            module, _, attribute = _CORE[cmd_name].partition(":")
            command = getattr(importlib.import_module(module), attribute)
        else:
            found = entry_points(group="lineside.commands", name=cmd_name)
            if not found:
                return None
            command = next(iter(found)).load()
        if not isinstance(command, click.Command):
            msg = f"{cmd_name} is no click command: {command!r}"
            raise TypeError(msg)
        return command


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Everything, on real images, on this machine:  lineside demo",
)
@click.version_option(__version__, prog_name="lineside")
def lineside() -> None:
    """Visual inspection at the edge: from a folder of photos to one verdict for each part."""


def main() -> None:
    """Run the command; exit with 0 on success only, and without a traceback."""
    try:
        # Without its standalone mode click returns the code of an Exit instead of raising it.
        code = lineside.main(standalone_mode=False, prog_name="lineside")
        sys.exit(code if isinstance(code, int) else 0)
    except LinesideError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output went away (`lineside watch | head`): nothing to say to it.
        with contextlib.suppress(OSError):
            sys.stdout.close()
        sys.exit(1)
