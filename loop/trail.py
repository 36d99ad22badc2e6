"""`Trail`: a sequence that only grows, and that many frozen values can share."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar, overload

Item = TypeVar("Item")


class Trail(Sequence[Item], Generic[Item]):
    """An immutable sequence whose `push` takes constant time.

    A run keeps its history in one. Tuples would be copied at each step, and the cost of a step
    would grow with the length of the run. Here all the trails of one history share a list and
    differ in how much of it they see; one that branches off gets a list of its own.

    >>> one = Trail().push("a")
    >>> two, other = one.push("b"), one.push("c")
    >>> list(one), list(two), list(other)
    (['a'], ['a', 'b'], ['a', 'c'])
    """

    __slots__ = ("_items", "_length")

    def __init__(self, items: Sequence[Item] = ()) -> None:
        self._items = list(items)
        self._length = len(self._items)

    def push(self, item: Item) -> "Trail[Item]":
        """The trail with one more item; this one stays as it is."""
        items, length = self._items, self._length
        if not length:  # an empty one may be the default that all runs share
            items = [item]
        elif len(items) == length:
            items.append(item)
        elif items[length] is not item:
            items = [*items[:length], item]
        grown: Trail[Item] = object.__new__(Trail)
        grown._items, grown._length = items, length + 1
        return grown

    def until(self, length: int) -> "Trail[Item]":
        """The trail of the first `length` items."""
        shorter: Trail[Item] = object.__new__(Trail)
        shorter._items, shorter._length = self._items, min(length, self._length)
        return shorter

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return self._items[: self._length][index]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._items[index if index >= 0 else self._length + index]

    def __iter__(self) -> Iterator[Item]:
        return islice(self._items, self._length)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trail) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(self._length)

    def __repr__(self) -> str:
        return f"Trail({list(self)!r})"
