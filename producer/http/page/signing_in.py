"""The sign-in form: a token for a cookie."""

from typing import TYPE_CHECKING

from msgspec import Struct
from starlette.responses import HTMLResponse, Response

from reckoner.producer.http.page.rendering import render
from reckoner.producer.http.page.screens import SAFE, moved, of_visitor
from reckoner.producer.http.page.sessions import form, is_secure, own_path
from reckoner.producer.http.routes import Nothing, Route
from reckoner.producer.http.tokens import COOKIE, SESSION_S, require_same_origin

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Call


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the visitor wanted to go."""

    to: str = "/"


async def ask(call: "Call", asked: Asked) -> Response:
    """Ask for a token."""
    return _form(call, asked.to)


def _form(call: "Call", to: str, wrong: str = "") -> Response:
    context = {"title": "Sign in", "path": "/sign-in", "to": own_path(to), "wrong": wrong, **of_visitor(call)}
    return HTMLResponse(render("sign_in.html", context), 403 if wrong else 200, headers=SAFE)


async def sign_in(call: "Call", _: Nothing) -> Response:
    """Set the cookie for a valid token."""
    require_same_origin("POST", call.headers)
    given = await form(call)
    to, token = given.get("to", "/"), given.get("token", "").strip()
    access = call.server.access
    if access.of_token(token) is None:
        return _form(call, to, "This token is not in the file of tokens.")
    response = moved(own_path(to))
    response.set_cookie(
        COOKIE, access.session_of(token), max_age=SESSION_S, httponly=True, samesite="strict", secure=is_secure(call)
    )
    return response


async def sign_out(call: "Call", _: Nothing) -> Response:
    """Delete the cookie."""
    require_same_origin("POST", call.headers)
    response = moved("/sign-in")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


ROUTES = (
    Route(
        method="GET", path="/sign-in", role=None, handle=ask, summary="Ask for a token.", asked=Asked, described=False
    ),
    Route(method="POST", path="/sign-in", role=None, handle=sign_in, summary="Sign in.", described=False),
    Route(method="POST", path="/sign-out", role=None, handle=sign_out, summary="Sign out.", described=False),
)
