"""Failed downloads, described for a user (no torch)."""

from urllib.error import HTTPError, URLError


def describe_failure(error: BaseException) -> str:
    """Describe a failed download in a few words.

    >>> describe_failure(URLError(OSError(-2, "Name or service not known")))
    'no connection: Name or service not known'

    Args:
        error: Raised by urllib, or by a library that wraps its text.

    Returns:
        The server's answer, the fault of the connection, or the error's text in one line.
    """
    if isinstance(error, HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, URLError):
        reason = error.reason
        text = (isinstance(reason, OSError) and reason.strerror) or str(reason)
        return f"no connection: {text}"
    return " ".join(str(error).split()) or type(error).__name__
