"""Safe text for terminals: values from Redis, files or arguments cannot move the cursor or reverse a line.

All output goes through here: results, messages, JSON, logs, and stack traces.
"""

import json
import re
import sys
import traceback
from types import TracebackType

# Control, line-ending, direction and invisible characters, and lone surrogates. The joiners U+200C and U+200D, which
# emoji need, and the signs of Arabic and Kaithi are safe.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """The text with its unsafe characters escaped."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def plain_lines(text: str) -> str:
    """The same for a text of several lines, such as a stack trace."""
    return "\n".join(map(plain, text.split("\n")))


def plain_json(text: str) -> str:
    """JSON of the same value, with its unsafe characters escaped; they occur only within strings."""
    return UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def show_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the stack trace of an unexpected error, as Python does; for `sys.excepthook`."""
    if sys.stderr is not None:
        print(plain_lines("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
