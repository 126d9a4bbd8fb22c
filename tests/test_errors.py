import pickle

from sscl_geo.errors import ReadError


def test_a_read_error_comes_from_a_worker_as_it_was() -> None:
    sent = pickle.dumps(ReadError("a.tif cannot be read", is_permanent=True))
    error = pickle.loads(sent)  # noqa: S301 - our own
    assert str(error) == "a.tif cannot be read"
    assert error.is_permanent
