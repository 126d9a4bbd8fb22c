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

_VARIABLE = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|KEY$", re.IGNORECASE)
_PLACE = re.compile(r"(?:PATH|FILE|DIR|URI|URL)$", re.IGNORECASE)
_NAME = (
    r"(?:sig|signature|(?:access_?|auth_?|id_?|refresh_?|session_?)?token|x-(?:amz|goog)-[\w-]{1,40}|"
    r"[\w-]{0,40}(?:secret|password|passwd|(?:access|account|api|subscription)[_-]?key)[\w-]{0,40})"
)
_ADDRESS_USER = re.compile(r"(://)[^/\s@\"']{1,300}@")
_ASSIGNED = re.compile(
    rf"((?:(?<![\w-])|(?<=%3F)|(?<=%26)){_NAME}(?:=|%3D)|[?&]key=)[^&\s\"'<>,;)\]}}]+",
    re.IGNORECASE,
)
_QUOTED = re.compile(rf"([\"']{_NAME}[\"']\s{{0,9}}:\s{{0,9}}[\"'])[^\"']+", re.IGNORECASE)
_HEADER = re.compile(
    r"\b((?:(?:proxy-)?authorization|x-api-key|api-key|ocp-apim-subscription-key|"
    r"x-amz-security-token)(?:[\"']?\s{0,9}[:=]\s{0,9}[\"']?|[\"'],\s{0,9}[\"']))"
    r"(?:(?:bearer|basic)\s{1,9})?[^\s\"',;)]+",
    re.IGNORECASE,
)
_COOKIE = re.compile(r"\b((?:set-)?cookie[\"']?\s{0,9}:\s{0,9}[\"']?)[^\r\n\"']+", re.IGNORECASE)
_BEARER = re.compile(
    r"\b((?:bearer|basic)\s{1,9})(?=[\w.~+/-]{0,200}\d)[\w.~+/-]{12,}=*", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """Return a text without what looks like a credential, or is one of this process's environment.

    Hidden are signatures and tokens in addresses, users in addresses, headers that authorise, and
    the values of variables such as `AWS_SECRET_ACCESS_KEY` or `RAY_AUTH_TOKEN`.
    """
    for secret in _of_environment():
        text = text.replace(secret, HIDDEN)
    text = _ADDRESS_USER.sub(rf"\1{HIDDEN}@", text)
    for pattern in (_HEADER, _COOKIE, _BEARER, _QUOTED, _ASSIGNED):
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


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
    except Exception:  # noqa: BLE001 - the handler reports it, and must not show the arguments
        told, record.args = str(record.msg), None
    clean = without_secrets(told)
    if clean != told or record.args is None:
        record.msg, record.args = clean, None
    if record.exc_info:
        # A formatter takes this text in place of one of its own.
        record.exc_text = without_secrets(logging.Formatter().formatException(record.exc_info))
    if record.stack_info:
        record.stack_info = without_secrets(record.stack_info)
    return record
