"""Lists of values that checks name, in CSV files beside the template.

`with_lists` writes their values into the text of the template, so that a text that is sent or
stored is whole.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import yaml

from pipeline.placing.yaml_nodes import compose_all, error_at, shown, suggestion, text_of

ReadList = Callable[[str], bytes]  # a file beside the template; raises OSError

MAX_VALUES: Final = 20_000  # of one list
MAX_LIST_BYTES: Final = 1 << 20  # of a CSV file
VALUE: Final = re.compile(r"[0-9A-Za-z./-]{1,64}", re.ASCII)
VALUE_RULE: Final = "is no value: use letters, digits, '.', '/' and '-', 64 at most."

_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,99}", re.ASCII)


def with_lists(text: str, read: ReadList, *, documents: int = 1) -> str:
    """Return the text of templates with the values of the CSV files that it names.

    Raises TemplateError for a file that is missing, too large, no CSV, or without the column.
    """
    places: list[tuple[int, str]] = []
    for found, start in _lists_to_read(compose_all(text, documents=documents)):
        node = found["csv"]
        file = file_of(node, "a check")
        column = text_of(found["column"], "column") if "column" in found else None
        values = " ".join(_column_of(node, file, _read(node, file, read), column))
        before = ", " if start is None else "\n" + " " * start
        places.append((node.end_mark.index, f'{before}values: "{values}"'))
    for at, more in sorted(places, reverse=True):
        text = text[:at] + more + text[at:]
    return text


def _lists_to_read(
    roots: Sequence[yaml.MappingNode],
) -> Iterator[tuple[dict[str, yaml.Node], int | None]]:
    """Yield the checks with a CSV file and no values yet.

    Beside each stands the column in which its keys begin; None: they are in one line.
    """
    for root in roots:
        top = _plain_mapping(root)
        pages = top.get("pages")
        kinds = pages.value if isinstance(pages, yaml.SequenceNode) else []
        for one in (root, *kinds):
            checks = _plain_mapping(one).get("checks")
            for check in checks.value if isinstance(checks, yaml.SequenceNode) else []:
                found = _plain_mapping(check)
                if "csv" in found and "values" not in found:
                    first = check.value[0][0].start_mark.column
                    yield found, None if check.flow_style else first


def _plain_mapping(node: yaml.Node) -> dict[str, yaml.Node]:
    """Return what a mapping holds; a node that is wrong is left for the parser to report."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def _read(node: yaml.Node, file: str, read: ReadList) -> str:
    try:
        data = read(file)
    except OSError as exc:
        raise error_at(
            node,
            f"the list {file} cannot be read ({exc.strerror}).",
            hint="It is looked for in the folder of the template.",
        ) from exc
    if len(data) > MAX_LIST_BYTES:
        raise error_at(node, f"the list {file} is larger than {MAX_LIST_BYTES >> 20} MiB.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise error_at(
            node,
            f"the list {file} is not text in UTF-8.",
            hint="Excel saves it so as 'CSV UTF-8 (comma delimited)'.",
        ) from exc


def _column_of(node: yaml.Node, file: str, text: str, column: str | None) -> list[str]:
    """Return the values of a column; without its name, those of the only one, all lines of it."""
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=separator) if any(line)]
    except csv.Error as exc:
        raise error_at(node, f"the list {file} is no CSV file ({exc}).") from exc
    if not lines:
        raise error_at(node, f"the list {file} is empty.")
    if column is None:
        if any(len(line) > 1 for line in lines):
            raise error_at(
                node,
                f"the list {file} has several columns.",
                hint=f"Say which is meant: 'column: {lines[0][0].strip()[:40]}'.",
            )
        at, first = 0, 0
    else:
        names = [name.strip() for name in lines[0]]
        if column not in names:
            raise error_at(
                node, f"the list {file} has no column '{column}'.", hint=suggestion(column, names)
            )
        at, first = names.index(column), 1
    values = dict.fromkeys(line[at].strip() if at < len(line) else "" for line in lines[first:])
    values.pop("", None)
    for value in values:
        if not VALUE.fullmatch(value):
            raise error_at(node, f"the list {file}: '{value[:40]}' {VALUE_RULE}")
    if not 1 <= len(values) <= MAX_VALUES:
        raise error_at(
            node, f"the list {file} has {len(values):,} values; 1 to {MAX_VALUES:,} are possible."
        )
    return list(values)


def file_of(node: yaml.Node, where: str) -> str:
    """Return the name of a CSV file. Raises TemplateError."""
    name = text_of(node, f"{where}: csv")
    if not _FILE.fullmatch(name):
        raise error_at(
            node,
            f"{where}: '{shown(node)}' cannot be the name of a list.",
            hint="It is a file in the folder of the template, such as accounts.csv.",
        )
    return name
