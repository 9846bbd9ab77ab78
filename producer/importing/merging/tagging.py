"""Collects the tags of items from all batches: an item has the tags of all its rows."""

import numpy as np
import pyarrow as pa

from reckoner.producer.importing.judging.tags import split_tags
from reckoner.producer.importing.judging.verdict import without_words


class CollectedTags:
    """The values of tags of each item, as they were read."""

    def __init__(self) -> None:
        self._values: dict[str, set[str]] = {}

    def add(self, items: pa.DictionaryArray, values: pa.Array) -> None:
        """Add the values, string[n] with nulls, of the items of n rows."""
        encoded = without_words(values).dictionary_encode()
        rows = np.flatnonzero(encoded.is_valid().to_numpy(zero_copy_only=False))
        if not len(rows):
            return
        some = pa.array(rows)
        numbers = items.indices.take(some).to_numpy().astype(np.int64) * len(encoded.dictionary)
        pairs = np.unique(numbers + encoded.indices.take(some).to_numpy())
        of_items, of_values = np.divmod(pairs, len(encoded.dictionary))
        names = items.dictionary.take(pa.array(of_items)).to_pylist()
        texts = encoded.dictionary.take(pa.array(of_values)).to_pylist()
        for item, value in zip(names, texts, strict=True):
            self._values.setdefault(item, set()).add(value)

    def split(self, separator: str) -> dict[str, frozenset[str]]:
        """The tags of each item that has some."""
        known: dict[str, set[str]] = {}
        tags = dict[str, frozenset[str]]()
        for item, values in self._values.items():
            for value in values:
                if value not in known:
                    known[value] = split_tags(value, separator)
            if found := frozenset[str]().union(*(known[value] for value in values)):
                tags[item] = found
        return tags
