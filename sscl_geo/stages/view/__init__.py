"""A map in the browser of the same machine: what it shows, opened and served."""

from collections.abc import Callable

from sscl_geo.stages.view.guard import HOST
from sscl_geo.stages.view.opening import ViewRequest, opened
from sscl_geo.stages.view.server import listening, server

__all__ = ["ViewRequest", "view"]


def view(request: ViewRequest, port: int, tell: Callable[[str], None]) -> None:
    """Serve a page on loopback until it is interrupted.

    Args:
        request: What the page shows.
        port: Its port; 0 takes a free one.
        tell: Takes the page's address once it can be opened, and what the user should know.

    Raises:
        InvalidInputError: A path is no map or cube, they lie apart, or the port is in use.
    """
    shown = opened(request)
    with listening(port) as listener:
        number = listener.getsockname()[1]
        for note in shown.notes:
            tell(f"note: {note}")
        tell(f"view: http://{HOST}:{number}/ (Ctrl-C ends)")
        server(shown, number).run(sockets=[listener])
