"""Secrets kept out of logs, causes of failures and tracebacks.

Code that knows where a secret stands keeps it out itself, as `io.trust.redacted` does; this is for
the texts of libraries, which may quote any address or header.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

HIDDEN = "[hidden]"

SHORTEST = 8
"""Characters of the shortest value of the environment that is taken for a secret."""

_VARIABLE = re.compile(
    r"SECRET|TOKEN|PASSWORD|CREDENTIAL|(?:ACCESS|API|SUBSCRIPTION)_?KEY", re.IGNORECASE
)
_PLACE = re.compile(r"(?:PATH|FILE|DIR|URI|URL)$", re.IGNORECASE)
_ADDRESS_USER = re.compile(r"(://)[^/\s@\"']+@")
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|ocp-apim-subscription-key)"
    r"([\"']?\s*[:=,]\s*[\"']?)(?:(?:bearer|basic)\s+)?[^\s\"',;)]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer)\s+[\w.~+/-]{8,}=*", re.IGNORECASE)
_PARAMETER = re.compile(
    r"([?&](?:se|sig|sk\w*|sp|sr|st|sv|key|api_?key|subscription-key)|"
    r"\b(?:\w*token|signature|password|secret|awsaccesskeyid|x-(?:amz|goog)-[\w-]+))"
    r"=[^&\s\"'<>)\]}]+",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Return a text without what looks like a credential, or is one of this process's environment.

    Hidden are signatures and tokens in addresses, users in addresses, headers that authorise, and
    the values of variables such as `AWS_SECRET_ACCESS_KEY` or `RAY_AUTH_TOKEN`.
    """
    for secret in _of_environment():
        text = text.replace(secret, HIDDEN)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    text = _ADDRESS_USER.sub(rf"\1{HIDDEN}@", text)
    return _PARAMETER.sub(rf"\1={HIDDEN}", text)


def keep_secrets_out_of_logs() -> None:
    """Clean every log record that this process makes from now on, whichever library's logger it is.

    A filter on a logger does not see what the loggers below it make, so records are cleaned when
    they are made.
    """
    make = logging.getLogRecordFactory()
    if not (isinstance(make, partial) and make.func is _clean_record):
        logging.setLogRecordFactory(partial(_clean_record, make))


def _of_environment() -> Iterable[str]:
    return (
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and _VARIABLE.search(name) and not _PLACE.search(name)
    )


def _clean_record(
    make: Callable[..., logging.LogRecord],
    *args: Any,  # noqa: ANN401 - whatever a record is made of
    **fields: Any,  # noqa: ANN401
) -> logging.LogRecord:
    record = make(*args, **fields)
    try:
        told = record.getMessage()
    except (TypeError, ValueError):
        # The arguments do not fit, which the handler would report with all of them.
        told = str(record.msg)
    record.msg, record.args = without_secrets(told), None
    if record.exc_info:
        # A formatter takes this text in place of one of its own.
        record.exc_text = without_secrets(logging.Formatter().formatException(record.exc_info))
    return record
