"""What is evaluated: the configurations of models, as people write them."""

from dataclasses import dataclass

import msgspec

from reckoner.shared.errors import UsageError
from reckoner.shared.store.fit_options import parse_recency
from reckoner.shared.store.model_config import PARAMETERS, ModelConfig, in_words


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to evaluate."""

    config: ModelConfig
    recency: float | None = None
    """None: the default for the data, see `recency_of`."""

    @property
    def name(self) -> str:
        """The candidate as `--model` takes it, without defaults: `cosine user_norm=1`."""
        recency = "" if self.recency is None else f" recency={in_words(self.recency)}"
        return self.config.label + recency

    @property
    def command(self) -> str:
        """The command that builds it: `reckoner fit --similarity cosine --user-norm 1`."""
        words = f"--similarity {self.name}".split()
        options = [f"--{word.replace('_', '-').replace('=', ' ')}" for word in words[2:]]
        return " ".join(["reckoner fit", *words[:2], *options])


def parse_candidate(text: str, argument: str = "--model") -> Candidate:
    """Parse a candidate, as in `cosine user_norm=1 neighbours=50`; messages name the command line's argument.

    Raises:
        UsageError: it is invalid.
    """
    similarity, *parameters = text.split() or [""]
    given = {"similarity": similarity}
    for parameter in parameters:
        name, equals, value = parameter.partition("=")
        if not equals or name in given:
            raise UsageError(f"{argument} {text!r}: {parameter} is not NAME=VALUE once, as in 'cosine user_norm=1'.")
        given[name.replace("-", "_")] = value
    if similarity not in PARAMETERS:
        raise UsageError(f"--model {text!r}: {similarity!r} is no kind of model. There are {', '.join(PARAMETERS)}.")
    recency = given.pop("recency", None)
    try:
        config = msgspec.convert(given, ModelConfig, strict=False)
        return Candidate(config, None if recency is None else parse_recency(recency))
    except ValueError as error:
        raise UsageError(f"{argument} {text!r}: {str(error).rstrip('.')}.") from error
