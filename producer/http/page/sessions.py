"""Sessions: signing in with a token, and the seals of forms."""

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from reckoner.producer.http.problems import ProblemError
from reckoner.producer.http.tokens import COOKIE, cookie

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call


def seal(call: "Call", *parts: str) -> str:
    """What a form holds to prove that a page of this server made it, for this visitor and these `parts`.

    Its key is the visitor's cookie, which other sites cannot read, or without tokens a secret of this server.
    """
    signed_in = call.identity is not None and call.identity.by_cookie
    key = cookie(call.headers, COOKIE).encode("latin-1") if signed_in else call.server.config.secret
    return hmac.new(key, "\0".join(parts).encode(), sha256).hexdigest()


def require_seal(call: "Call", given: str, *parts: str) -> None:
    """Check the seal of a form.

    Raises:
        ProblemError: it is not this visitor's, or for another change.
    """
    if not hmac.compare_digest(given.encode(), seal(call, *parts).encode()):
        raise ProblemError("foreign-origin", "This form is too old, or of another site. Open it again.")


async def form(call: "Call") -> dict[str, str]:
    """The fields of a form, each once.

    Raises:
        ProblemError: the body is no form, or too large.
    """
    kind = call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind != b"application/x-www-form-urlencoded":
        raise ProblemError("malformed", "The body must be a form of this page.")
    try:
        return dict(parse_qsl((await call.read()).decode(), keep_blank_values=True, errors="strict", max_num_fields=20))
    except ValueError:
        raise ProblemError("malformed", "The body is no form in UTF-8.") from None


def is_secure(call: "Call") -> bool:
    """Whether the browser came by HTTPS, maybe to a proxy before this server."""
    return call.scope["scheme"] == "https" or call.headers.get(b"x-forwarded-proto", b"") == b"https"


def own_path(path: str) -> str:
    """The path of this server to go to after the sign-in; the start for any address elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own else "/"
