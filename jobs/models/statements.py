"""Statements that are built once and executed all the time.

CompiledQuery: Django compiles a query once per process, which takes as long as the database needs to answer it.
execute_prepared(): PostgreSQL parses and plans a statement once per connection.
instances(): a model's objects from such a statement's rows, without what QuerySet.raw() works out for each statement.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DEFERRED, BooleanField, Expression, Field, Func, Model, QuerySet

from rest.pooler import is_pooled

Row = TypeVar("Row", bound=Model)


class Parameter(Expression):
    """Stands in a CompiledQuery for a value that is given by this name at each execution."""

    def __init__(self, name: str, field: "Field[Any, Any]") -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        return "%s", [self]

    def adapt(self, value: object, connection: BaseDatabaseWrapper) -> object:
        """The value as the driver takes it."""
        return self.output_field.get_db_prep_value(value, connection)


class ListParameter(Parameter):
    """As Parameter, for a list of values. PostgreSQL only."""

    def adapt(self, value: object, connection: BaseDatabaseWrapper) -> object:
        return [super(ListParameter, self).adapt(each, connection) for each in cast(Iterable[object], value)]


class EqualsAny(Func):
    """A condition: EqualsAny(F("pk"), ListParameter("ids", …)). Unlike __in, the same SQL for any number of values."""

    arg_joiner = " = ANY("
    template = "%(expressions)s)"
    output_field = BooleanField()


class CompiledQuery:
    """A query that Django compiles once for each database vendor and choice of constants.

    build: returns the query for the constants, which are hashable and have few different values. What differs at each
    execution is a Parameter in it.
    """

    def __init__(self, build: "Callable[..., QuerySet[Any, Any]]") -> None:
        self._build = build
        self._compiled: dict[Hashable, tuple[str, Sequence[Any]]] = {}

    def build(self, *constants: Any, using: str = DEFAULT_DB_ALIAS) -> tuple[str, Sequence[Any]]:
        """The statement and its parameters, compiled and not kept: for constants with many different values."""
        compiled: tuple[str, Sequence[Any]] = self._build(*constants).query.get_compiler(using=using).as_sql()
        return compiled

    def sql(self, *constants: Hashable, using: str = DEFAULT_DB_ALIAS, **values: object) -> tuple[str, Sequence[Any]]:
        """The statement and its parameters. values: by the names of the query's Parameters."""
        connection = connections[using]
        key = (connection.vendor, *constants)
        if (found := self._compiled.get(key)) is None:
            found = self._compiled[key] = self.build(*constants, using=using)
        statement, params = found
        if not values:
            return statement, params
        return statement, [
            param.adapt(values[param.name], connection) if isinstance(param, Parameter) else param for param in params
        ]

    def rows(self, *constants: Hashable, using: str = DEFAULT_DB_ALIAS, **values: object) -> list[tuple[Any, ...]]:
        """As the driver returns them."""
        with connections[using].cursor() as cursor:
            cursor.execute(*self.sql(*constants, using=using, **values))
            return list(cursor.fetchall())

    def first(self, *constants: Hashable, using: str = DEFAULT_DB_ALIAS, **values: object) -> tuple[Any, ...] | None:
        """The first of its rows; the query should be limited to one."""
        return next(iter(self.rows(*constants, using=using, **values)), None)

    def instance(self, model: type[Row], *constants: Hashable, **values: object) -> Row | None:
        """The first of its rows as an object of this model."""
        return next(iter(self.instances(model, *constants, **values)), None)

    def instances(self, model: type[Row], *constants: Hashable, **values: object) -> list[Row]:
        """Its rows as objects of this model."""
        connection = connections[DEFAULT_DB_ALIAS]
        with connection.cursor() as cursor:
            cursor.execute(*self.sql(*constants, using=DEFAULT_DB_ALIAS, **values))
            return instances(model, cursor, connection)


def instances(model: type[Row], cursor: Any, connection: BaseDatabaseWrapper) -> list[Row]:
    """What an executed statement returned. Columns that are no fields become attributes, as annotations would; fields
    that it did not return are loaded when they are used."""
    layout = _layout(model, tuple(column[0] for column in cursor.description), connection.alias)
    return [layout.instance(model, row, connection) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class _Layout:
    """fields: all of the model. positions: where a row has their values; behind its end for fields that it lacks.

    converters: place among the fields, column, function. others: position and name of columns that are no fields.
    """

    fields: list[str]
    positions: list[int]
    converters: list[tuple[int, Any, Callable[[Any, Any, Any], Any]]]
    others: list[tuple[int, str]]

    def instance(self, model: type[Row], row: Sequence[Any], connection: BaseDatabaseWrapper) -> Row:
        # Without a value for each field, from_db() would look for the missing ones: 5 of 19 µs for a claimed job.
        row = (*row, DEFERRED)
        values = [row[position] for position in self.positions]
        for place, column, convert in self.converters:
            values[place] = convert(values[place], column, connection)
        instance = model.from_db(connection.alias, self.fields, values)
        for position, name in self.others:
            setattr(instance, name, row[position])
        return instance


@cache
def _layout(model: type[Model], columns: tuple[str, ...], using: str) -> _Layout:
    connection = connections[using]
    fields = model._meta.concrete_fields
    found: list[tuple[int, Any, Callable[[Any, Any, Any], Any]]] = []
    for place, field in enumerate(fields):
        if field.column not in columns:
            continue
        column = field.get_col(model._meta.db_table)
        converters = *connection.ops.get_db_converters(column), *column.get_db_converters(connection)
        found += [(place, column, convert) for convert in converters]
    names = {field.column for field in fields}
    return _Layout(
        [field.attname for field in fields],
        [columns.index(field.column) if field.column in columns else len(columns) for field in fields],
        found,
        [(position, name) for position, name in enumerate(columns) if name not in names],
    )


Executes = dict[str, str]
"""The EXECUTE statement of each prepared statement."""

_numbers = itertools.count()
"""Every PREPARE gets a new name: one that was interrupted may have been executed, so that its name is taken."""
_prepared: WeakKeyDictionary[Any, Executes] = WeakKeyDictionary()
"""By the driver's connection, with which prepared statements end. They survive a rollback."""


def execute_prepared(connection: BaseDatabaseWrapper, statement: str, values: Sequence[Any]) -> list[Any]:
    """Prepare the statement at its first use on this connection, then execute it; returns its rows. PostgreSQL only.

    The statement has one %s per value and no other percent sign. Behind a pooler, which
    may give each transaction another session, it is executed without being prepared.
    """
    with connection.cursor() as cursor:
        cursor.execute(prepare(connection, cursor, statement, len(values)), values)
        return list(cursor.fetchall()) if cursor.description else []


def prepare(connection: BaseDatabaseWrapper, cursor: Any, statement: str, count: int) -> str:
    """The statement that executes this one, which takes so many values; see execute_prepared()."""
    if is_pooled(connection.settings_dict):
        return statement
    executes = _prepared.setdefault(connection.connection, {})
    if statement not in executes:
        name, places = f"legwork_{next(_numbers)}", range(1, count + 1)
        cursor.execute(f"PREPARE {name} AS {statement % tuple(f'${place}' for place in places)}")
        arguments = f"({', '.join(['%s'] * count)})" if count else ""
        executes[statement] = f"EXECUTE {name} {arguments}"
    return executes[statement]
