"""Bytes that nothing here writes: pickles, deep nesting, huge lengths, odd numbers and text, other versions."""

RECORD = (
    b'{"format":%d,"generation":"%s","model":"m","snapshot":"s","options":{"list_length":1},'
    b'"made_ms":0,"users":0,"popular":[]}'
)
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
    b'{"format":2,"items":[["a",NaN,"b"]],"unknown":[]}',
    b'{"format":2,"items":[["a",1e999,"b"]],"unknown":[]}',
    b'{"format":2,"items":[["a",0.5]],"unknown":[]}',
    b'{"format":2,"items":[{"item":"a","score":0.5,"because":"b"}],"unknown":[]}',
    b'{"format":2,"items":[["a",0.5,"\xff"]],"unknown":[]}',
    b'{"format":1,"items":[],"unknown":[]}',
    b'{"format":3,"items":[],"unknown":[]}',
    RECORD % (2, b"\xff"),
    RECORD % (2, b"a b"),
    RECORD % (3, b"g"),
    b"1" * 100_000,
]
