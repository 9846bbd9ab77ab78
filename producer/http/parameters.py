"""Parameters and bodies of requests: from text to a route's types, or a problem that says what is wrong."""

from difflib import get_close_matches
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from reckoner.producer.http.problems import ProblemError
from reckoner.shared.ids import shown

# A filter has up to 1,000 items and 200 tags.
MOST_FIELDS = 1_500


def repeated_fields(asked: type[Struct]) -> frozenset[str]:
    """The parameters that may be given several times."""
    return frozenset(
        one.name for one in msgspec.structs.fields(asked) if get_origin(_without_meta(one.type)) in (tuple, list)
    )


def _without_meta(kind: Any) -> Any:
    return _without_meta(get_args(kind)[0]) if hasattr(kind, "__metadata__") else kind


class Reader:
    """Reads the parameters of one route, of which some are in its path, and its body."""

    def __init__(self, asked: type[Struct], body: type[Struct] | None, in_path: frozenset[str]) -> None:
        self._asked = asked
        self._known = frozenset(one.encode_name for one in msgspec.structs.fields(asked))
        self._in_query = sorted(self._known - in_path)
        self._repeated = repeated_fields(asked)
        self._body = None if body is None else msgspec.json.Decoder(body)

    def parameters(self, values: dict[str, Any], query: bytes) -> Any:
        """The parameters, from the path's `values` and the query.

        Raises:
            ProblemError: one is unknown, repeated or invalid.
        """
        if query:
            self._add(values, query)
        try:
            asked = msgspec.convert(values, self._asked, strict=False)
        except msgspec.ValidationError as error:
            raise ProblemError("invalid-parameter", _sentence(error)) from None
        if none := next((name for name in values if getattr(asked, name) is None), None):
            # msgspec takes the text `null` for it.
            raise ProblemError("invalid-parameter", f"{none}: leave it out instead of giving null.")
        return asked

    def _add(self, values: dict[str, Any], query: bytes) -> None:
        in_path = frozenset(values)
        try:
            pairs = parse_qsl(
                query.decode("latin-1"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
            )
        except UnicodeDecodeError:
            raise ProblemError("malformed", "The query is not percent-encoded UTF-8.") from None
        except ValueError:
            raise ProblemError("malformed", f"The query has over {MOST_FIELDS:,} parameters.") from None
        for name, value in pairs:
            if name not in self._known or name in in_path:
                raise self._unknown(name)
            if name in self._repeated:
                values.setdefault(name, []).append(value)
            elif name in values:
                raise ProblemError("invalid-parameter", f"The parameter {name} is given twice.")
            else:
                values[name] = value

    def _unknown(self, name: str) -> ProblemError:
        near = next(iter(get_close_matches(name, self._in_query, n=1)), None)
        meant = f" Do you mean {near}?" if near else ""
        known = f"The parameters are {', '.join(self._in_query)}." if self._in_query else "This path takes none."
        return ProblemError("unknown-parameter", f"The parameter {shown(name)} is unknown.{meant} {known}", near=near)

    def body(self, data: bytes) -> Any:
        """The body in the shape of the route.

        Raises:
            ProblemError: it is not JSON, or has another shape.
        """
        assert self._body is not None
        try:
            return self._body.decode(data)
        except msgspec.ValidationError as error:
            raise ProblemError("invalid-parameter", _sentence(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise ProblemError("malformed", "The body is not valid JSON.") from None


def _sentence(error: msgspec.ValidationError) -> str:
    """What msgspec says, as a sentence that begins with the place."""
    reason, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    if not place:
        return f"{reason}."
    return f"{place}: {reason[:1].lower()}{reason[1:]}."
