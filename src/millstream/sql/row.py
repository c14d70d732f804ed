"""Row: a tuple whose fields have names."""

from typing import Any, Self


class Row(tuple[Any, ...]):  # noqa: SLOT001  Names are an attribute.
    """A record with named fields; a factory of such when made without values.

    >>> person = Row(name="Alice", age=11)
    >>> person.name, person["age"], "name" in person
    ('Alice', 11, True)
    >>> Person = Row("name", "age")
    >>> Person("Bob", 7)
    Row(name='Bob', age=7)
    """

    __fields__: list[str]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make a row of values, or with keywords one of named fields.

        Raises:
            ValueError: Both forms were used.
        """
        if args and kwargs:
            msg = "Can not use both args and kwargs to create Row"
            raise ValueError(msg)
        if kwargs:
            row = tuple.__new__(cls, kwargs.values())
            row.__fields__ = list(kwargs)
            return row
        return tuple.__new__(cls, args)

    def asDict(self, recursive: bool = False) -> dict[str, Any]:
        """Return a dict of the fields; with `recursive` of rows inside rows too.

        Raises:
            TypeError: The row has no names.
        """
        if not hasattr(self, "__fields__"):
            msg = "Cannot convert a Row class into dict"
            raise TypeError(msg)
        values = map(_plain, self) if recursive else self
        return dict(zip(self.__fields__, values, strict=False))

    def __contains__(self, item: object) -> bool:
        if hasattr(self, "__fields__"):
            return item in self.__fields__
        return super().__contains__(item)

    def __call__(self, *args: Any) -> "Row":
        """Return a row of these fields.

        Raises:
            ValueError: There are more values than fields.
        """
        if len(args) > len(self):
            msg = (
                f"Can not create Row with fields {self}, expected {len(self)} values "
                f"but got {args}"
            )
            raise ValueError(msg)
        return _make_row(list(self), args)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, int | slice):
            return super().__getitem__(item)
        try:
            return super().__getitem__(self.__fields__.index(item))
        except IndexError:
            raise KeyError(item) from None
        except (ValueError, AttributeError):
            raise ValueError(item) from None

    def __getattr__(self, item: str) -> Any:
        if item.startswith("__"):
            raise AttributeError(item)
        try:
            return super().__getitem__(self.__fields__.index(item))
        except (IndexError, ValueError):
            raise AttributeError(item) from None

    def __setattr__(self, key: str, value: Any) -> None:
        if key != "__fields__":
            msg = "Row is read-only"
            raise RuntimeError(msg)
        self.__dict__[key] = value

    def __reduce__(self) -> tuple[Any, ...]:
        if hasattr(self, "__fields__"):
            return _make_row, (self.__fields__, tuple(self))
        return tuple.__reduce__(self)  # type: ignore[return-value]

    def __repr__(self) -> str:
        if hasattr(self, "__fields__"):
            fields = zip(self.__fields__, self, strict=False)
            return f"Row({', '.join(f'{name}={value!r}' for name, value in fields)})"
        return f"<Row({', '.join(repr(value) for value in self)})>"


def _make_row(fields: list[str], values: Any) -> Row:
    row = Row(*values)
    row.__fields__ = fields
    return row


def _plain(value: Any) -> Any:
    if isinstance(value, Row):
        return value.asDict(recursive=True)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
