"""What a person sees: text in which nothing out of Redis, a file or an argument moves the cursor or turns a line.

Everything goes through here on its way to a terminal: what commands print and say, JSON, logs, and stack traces.
"""

import json
import re
import sys
import traceback
from types import TracebackType

# What controls a terminal, ends a line, turns the direction of writing or cannot be seen at all, and lone surrogates.
# U+200C and U+200D, which join and part letters and emoji, are left, and so are the signs of Arabic and Kaithi.
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def plain(text: str) -> str:
    """The text with escapes in place of what would not stay in its place on a terminal."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def plain_lines(text: str) -> str:
    """The same for a text of several lines, as a stack trace is."""
    return "\n".join(map(plain, text.split("\n")))


def plain_json(text: str) -> str:
    """JSON of the same value, in which those characters are escapes; they can stand in its strings alone."""
    return UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1], text)


def show_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the stack trace of an error that nobody foresaw, as Python itself does; for `sys.excepthook`."""
    if sys.stderr is not None:
        print(plain_lines("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
