"""From a STAC catalogue to a cube: one unit composites one tile over one period."""

from functools import partial
from pathlib import Path

from sscl_geo.geo.scene import Scene
from sscl_geo.io.store import Store
from sscl_geo.io.tables import SCENES, TILES, read_scenes, records_table
from sscl_geo.runtime.stage import Summary, execute
from sscl_geo.runtime.work import Machines, Outcome, Stage
from sscl_geo.stages.ingest.composite import Job, composite_unit, unit_bytes
from sscl_geo.stages.ingest.plan import IngestRequest, Kept, create, reopen, units

__all__ = ["IngestRequest", "ingest"]


def ingest(request: IngestRequest, out: Path, machines: Machines) -> Summary:
    """Make the cube of a request at a path, or finish one that was begun.

    The search happens once and is kept in the store; a second run reads it there.

    Raises:
        InvalidInputError: The request breaks a rule, or something else stands at `out`.
        CatalogError: The catalogue cannot be searched.
        NoSceneError: A sensor has no scene.
        PlanConflictError: The store at `out` was made by another request.
        HolesError: Units failed.
    """
    store = reopen(request, out) or create(request, out)
    kept = Kept.model_validate(store.plan.content)
    scenes = read_scenes((out / SCENES).read_bytes())
    job = Job(
        out=out.resolve(),
        spec=kept.spec,
        signing=request.source.profile.signing,
        compositor=request.compositor,
    )
    return execute(_stage(job, scenes, store), out, machines, "ingest")


def _stage(job: Job, scenes: tuple[Scene, ...], store: Store) -> Stage:
    return Stage(
        plan=partial(units, job.spec, scenes),
        prepare=store.sweep,
        run=partial(composite_unit, job),
        publish=partial(_publish, store),
        memory=partial(unit_bytes, job.spec, scenes),
    )


def _publish(store: Store, outcomes: list[Outcome]) -> None:
    records = [{"key": o.key, "status": o.status, **o.evidence} for o in outcomes]
    store.put(TILES, records_table(records))
