"""The pages that an edge writes itself. They name node and request, so that a customer can quote them."""

import html
import re
from datetime import UTC, datetime
from pathlib import Path

_TEMPLATE = (Path(__file__).parent / "pages" / "error.html").read_text()
_FIELD = re.compile(r"\{\{(\w+)\}\}")

_LATER = "Please try again in a few minutes."
_ORDINARY = "Try an ordinary page request."

#: Status → (title, what happened, what can be done), in a customer's words.
_WORDS = {
    400: ("Bad Request", "The request could not be understood.", "Check the address and try again."),
    403: ("Forbidden", "A protection rule stopped this request.", "Tell the site's owner the request id."),
    405: ("Method Not Allowed", "This method is not served here.", _ORDINARY),
    431: ("Request Header Fields Too Large", "The request's headers are too large.", "Clear your cookies."),
    501: ("Not Implemented", "This kind of request is not served here.", _ORDINARY),
    502: (
        "Bad Gateway",
        "The server at the edge of the network could not complete your request.",
        f"Nothing is wrong with your computer. {_LATER}",
    ),
    503: ("Service Unavailable", "The server is not taking requests at the moment.", _LATER),
    504: ("Gateway Timeout", "The site behind this server did not answer in time.", _LATER),
}


def error_page(status: int, host: str, node: str, pop: str, request_id: str, now: float) -> bytes:
    """A whole HTML document. `now`: wall-clock seconds."""
    title, what, advice = _WORDS[status]
    at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    fields = {
        "status": str(status),
        "title": title,
        "what": what,
        "advice": advice,
        "host": host or "this site",
        "node": node,
        "pop": pop,
        "request_id": request_id,
        "at": at,
    }
    return _FIELD.sub(lambda place: html.escape(fields[place[1]]), _TEMPLATE).encode()
