"""Bytes that nothing here writes: pickles, deep nesting, huge lengths, odd numbers and text, other versions."""

ODD_BYTES = [
    b"",
    b"cposix\nsystem\n(S'true'\ntR.",
    b"\x80\x05]\x94.",
    b"\x91" * 100_000,
    b"[" * 100_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc7\x04\xff" + b"\0" * 4,
    b"\xd6\xff\0\0\0\0",
    b"\xcf" + b"\xff" * 8,
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"NaN",
    b'{"format":1,"generation":"g","items":[{"item":"a","score":NaN,"because":"b"}]}',
    b'{"format":1,"generation":"g","items":[{"item":"a","score":1e999,"because":"b"}]}',
    b'{"format":2,"generation":"g","items":[]}',
    b'{"format":1,"generation":"\xff","items":[]}',
    b'{"format":1,"generation":"a b","items":[]}',
    b"1" * 100_000,
]
