"""What all pages are made with: one look, no script, nothing from the network."""

from __future__ import annotations

from typing import Any

from lineside.extras import require
from lineside.report import summary


def render_page(template: str, context: dict[str, Any], *, package: str = "lineside.report") -> str:
    """Fill a template in.

    Args:
        template: its file name.
        context: what it shows.
        package: where it lies; those of `lineside.report` are found in any case.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report")
    places = dict.fromkeys((package, "lineside.report"))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(place, "") for place in places]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["areas"] = summary.areas
    environment.filters["percent"] = summary.percent
    environment.filters["ms"] = summary.milliseconds
    page: str = environment.get_template(template).render(context)
    # A file name that is no valid text in the file system comes with lone surrogates.
    return page.encode("utf-8", "backslashreplace").decode("utf-8")
