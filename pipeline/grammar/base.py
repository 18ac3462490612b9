"""What a field may hold, as the readers use it: a set of legal strings and the value of each.

A string is what stands on the paper. Its value is the same without the signs that carry no number,
such as grouping commas.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from pipeline.grammar.automaton import Automaton
from pipeline.grammar.forms import DigitsForm, Form
from pipeline.grammar.languages import digits

MAX_DIGITS: Final = 64  # longer than any number that a person writes by hand into one field


@dataclass(frozen=True, slots=True)
class Grammar:
    """A set of legal strings.

    `name` is the grammar in its normal form, as a template writes it (`digits(6)`); grammars of one
    name are the same. A reading shows it as the rule that changed its value. `output` has for each
    character of the automaton what it adds to the value: one character or none. Lengths are those
    of the strings. `form` is what `name` states, as values; None in a transcribed grammar.
    """

    name: str
    automaton: Automaton = field(repr=False, compare=False)
    output: Mapping[str, str] = field(repr=False, compare=False)
    min_length: int = field(compare=False)
    max_length: int = field(compare=False)
    form: Form | None = field(default=None, repr=False, compare=False)
    _transcribed: Automaton | None = field(default=None, repr=False, compare=False)

    def accepts(self, text: str) -> bool:
        """Say whether `text` is legal. Never "", and digits are ASCII digits only."""
        return self.automaton.accepts(text)

    def value(self, text: str) -> str:
        """Return the value of a legal `text`: that of `1,00,000/-` is 100000."""
        return "".join(self.output[character] for character in text)

    def value_characters(self) -> set[str]:
        """Return the characters that a value may hold."""
        return set(self.output.values()) - {""}

    def transcribed(self) -> Grammar:
        """Return the same values as the strip reader transcribes them.

        It outputs nothing for signs without value. Of an amount it outputs the digits, and a point
        before the minor unit, whatever the decimal mark on the paper.
        """
        return self if self._transcribed is None else _transcribed(self.name, self._transcribed)


@lru_cache(maxsize=64)
def _transcribed(name: str, automaton: Automaton) -> Grammar:
    silent = dict.fromkeys("/-=", "")
    return make_grammar(f"{name} as transcribed", automaton, silent)


def make_grammar(
    name: str,
    automaton: Automaton,
    changed: Mapping[str, str] | None = None,
    transcribed: Automaton | None = None,
    form: Form | None = None,
) -> Grammar:
    """Return the grammar of the strings of `automaton`.

    A character adds itself to the value, unless `changed` has something else for it. `transcribed`
    has the strings that the strip reader outputs, where they are others.
    """
    output = {character: character for character in automaton.characters}
    output |= {c: value for c, value in (changed or {}).items() if c in output}
    least, most = automaton.lengths()
    return Grammar(name, automaton, output, least, most, form, transcribed)


ANY_DIGITS: Final = make_grammar(
    "digits", digits(1, MAX_DIGITS), form=DigitsForm(1, MAX_DIGITS, limited=False)
)
