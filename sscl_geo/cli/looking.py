"""What shows and tells: the page of a map, the demo, catalogues, schemas."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sscl_geo import plugins
from sscl_geo.cli.options import DATA, LOOK, MAINTAIN, START, RanksOption, parsed
from sscl_geo.errors import InvalidInputError
from sscl_geo.frozen import Frozen
from sscl_geo.geo.legend import Legend
from sscl_geo.io.location import location
from sscl_geo.plugins import shipped_names

PARTS = [
    (part, name) for part in ("pretext", "init") for name in plugins.names(f"sscl_geo.learn.{part}")
]
"""Plugins with settings of their own in a study."""

SETTINGS = ", ".join(f"{part}:{name}" for part, name in PARTS)

app = typer.Typer()

catalog_app = typer.Typer(no_args_is_help=True, help="Check what catalogues offer.")
app.add_typer(catalog_app, name="catalog", rich_help_panel=DATA)


@app.command(rich_help_panel=LOOK)
def view(
    map: Annotated[str, typer.Argument(help="Path or s3:// address of a map.")],  # noqa: A002
    other: Annotated[
        str | None, typer.Option("--map", help="Second map, to compare with the first.")
    ] = None,
    cube: Annotated[
        str | None,
        typer.Option(help="Cube whose imagery is shown beneath; default: the map's own."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page; 0 takes a free one.")] = 7830,
    attribution: Annotated[
        str | None, typer.Option(help="Line of credit below the map; default: from its metadata.")
    ] = None,
) -> None:
    """Show a map in the browser of this machine: classes, confidence, areas, two maps compared."""
    from sscl_geo.stages.view import ViewRequest
    from sscl_geo.stages.view import view as run

    request = ViewRequest(
        map=location(map),
        other=None if other is None else location(other),
        cube=None if cube is None else location(cube),
        attribution=attribution,
    )
    # The server takes Ctrl-C as its end, and may or may not pass it on.
    with suppress(KeyboardInterrupt):
        run(request, port, partial(print, flush=True))
    print("ended")


@app.command(rich_help_panel=START)
def demo(
    out: Annotated[
        Path, typer.Option(help="Folder for all outputs; it must not exist yet.")
    ] = Path("demo-out"),
    size_px: Annotated[int, typer.Option(help="Side of the simulated land, in 10 m pixels.")] = 768,
    seed: Annotated[int, typer.Option(help="Random seed of the land and of the training.")] = 1,
    ranks: RanksOption = 2,
) -> None:
    """Simulate scenes, ingest them, learn, map and report: everything on this machine."""
    from sscl_geo.demo.run import run_demo
    from sscl_geo.runtime.gang import Ranks

    where = parsed(Ranks, {"ranks": ranks})
    page = run_demo(out, size_px=size_px, seed=seed, ranks=where)
    print(f"report: {page.resolve()}")


@app.command(rich_help_panel=DATA)
def serve(
    catalog: Annotated[
        Path, typer.Argument(help="Path of a static STAC catalogue's catalog.json.")
    ],
    port: Annotated[
        int, typer.Option(help="Port of the STAC API; files are served on the next one.")
    ] = 7822,
) -> None:
    """Serve a static catalogue as a STAC API with its files, on this machine alone."""
    import signal
    import sys
    import time

    from sscl_geo.demo.serve import served

    # So that its servers end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with served(catalog, port) as urls:
        print(f"STAC API {urls.api}  files {urls.files}  (Ctrl-C ends)", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print("ended")


@catalog_app.command()
def check(
    items: Annotated[
        Path, typer.Argument(help="File of STAC items: a FeatureCollection, a list or one item.")
    ],
    profile: Annotated[
        str,
        typer.Option(help=f"Profile to check by: {shipped_names('catalogs')}, or a YAML file."),
    ] = "generic",
) -> None:
    """Print for each item, as a line of JSON, whether ingest would use it or why not."""
    import json

    from sscl_geo.io.verdicts import check_file

    for verdict in check_file(items, profile):
        print(json.dumps(verdict))


@app.command(rich_help_panel=MAINTAIN)
def schema(
    kind: Annotated[
        str,
        typer.Argument(
            help="Kind of file: study, experiment, profile or legend; or settings in a study: "
            f"{SETTINGS}."
        ),
    ],
) -> None:
    """Print the JSON schema of a configuration file."""
    import json

    from sscl_geo.experiment.matrix import Experiment
    from sscl_geo.io.profile import Profile
    from sscl_geo.learn.study import Study

    kinds: dict[str, type[Frozen]] = {
        "study": Study,
        "experiment": Experiment,
        "profile": Profile,
        "legend": Legend,
        **{
            f"{part}:{name}": plugins.find(f"sscl_geo.learn.{part}", name).Settings
            for part, name in PARTS
        },
    }
    if kind not in kinds:
        raise InvalidInputError(f"schema {kind!r}: choose one of {', '.join(kinds)}")
    print(json.dumps(kinds[kind].model_json_schema(), indent=1))
