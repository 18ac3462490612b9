"""Finite automata over characters: the form of a grammar that the searches work with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

DIGITS: Final = "0123456789"

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class Automaton:
    """A deterministic automaton; state 0 is the start.

    `table` is (states, characters): the state that follows a character, -1 where the character is
    not legal. `accepting` is (states,). An accepting state can be reached from every state.
    """

    characters: str
    table: NDArray[np.int32]
    accepting: NDArray[np.bool_]

    def accepts(self, text: str) -> bool:
        """Say whether `text` is one of the automaton's strings."""
        state = 0
        for character in text:
            column = self.characters.find(character)
            if column < 0 or (state := int(self.table[state, column])) < 0:
                return False
        return bool(self.accepting[state])

    def example(self) -> str:
        """Return a short one of the strings: 1234… as far as that is legal."""
        text, state = "", 0
        while not self.accepting[state]:
            wanted = self.characters.find(DIGITS[(len(text) + 1) % 10])
            legal = np.flatnonzero(self.table[state] >= 0)
            column = wanted if wanted in legal else int(legal[0])
            text, state = text + self.characters[column], int(self.table[state, column])
        return text

    def lengths(self) -> tuple[int, int]:
        """Return the lengths of the shortest and the longest string of a finite set."""
        states = np.zeros(len(self.table), np.bool_)
        states[0] = True
        lengths = []
        for length in range(len(self.table)):
            if self.accepting[states].any():
                lengths.append(length)
            following = self.table[states].ravel()
            states = np.zeros_like(states)
            states[following[following >= 0]] = True
        return lengths[0], lengths[-1]


# Any string of digits, "" included: what a search finds without a grammar.
FREE: Final = Automaton(DIGITS, np.zeros((1, len(DIGITS)), np.int32), np.ones(1, np.bool_))


def build_automaton(
    characters: str,
    start: Key,
    step: Callable[[Key, str], Key | None],
    accepts: Callable[[Key], bool],
) -> Automaton:
    """Return the minimal automaton of a finite set of strings.

    A key is what must be remembered of a prefix. `step` returns the key after one more character,
    or None where no legal string begins so; `accepts` says whether the prefix itself is legal. Keys
    that allow the same endings become one state. Raises ValueError where no string is legal.
    (Minimising an acyclic automaton from its ends: Revuz 1992.)
    """
    # A state is whether it accepts, and the state that follows each character; -1 is no state.
    states: dict[tuple[bool, tuple[int, ...]], int] = {}
    numbers: dict[Key, int] = {}

    def visit(key: Key) -> int:
        if key in numbers:
            return numbers[key]
        after = []
        for character in characters:
            following = step(key, character)
            after.append(-1 if following is None else visit(following))
        ends = accepts(key)
        alive = ends or any(state >= 0 for state in after)
        number = states.setdefault((ends, tuple(after)), len(states)) if alive else -1
        numbers[key] = number
        return number

    if visit(start) < 0:
        raise ValueError("no string is legal")
    # The start was numbered last, since no cycle leads back to it; it becomes state 0.
    table = np.array([after for _, after in states], np.int32)[::-1]
    table = np.where(table >= 0, len(table) - 1 - table, -1).astype(np.int32)
    return Automaton(characters, table, np.array([ends for ends, _ in states])[::-1].copy())
