"""`Trail` is a list that nobody can change, however many share it."""

from hypothesis import given
from hypothesis import strategies as st

from loopwright.trail import Trail


@given(st.lists(st.tuples(st.integers(0, 30), st.integers()), max_size=60))
def test_every_branch_keeps_what_it_saw(pushes: list[tuple[int, int]]) -> None:
    branches: list[tuple[Trail[int], list[int]]] = [(Trail(), [])]
    for of, item in pushes:
        trail, items = branches[of % len(branches)]
        branches.append((trail.push(item), [*items, item]))
    for trail, items in branches:
        assert list(trail) == items
        assert len(trail) == len(items)
        assert trail[:] == items
        assert trail == Trail(items)
        assert all(list(trail.until(n)) == items[:n] for n in range(len(items) + 2))
        assert [trail[i] for i in range(-len(items), 0)] == items


def test_an_empty_trail_is_never_written_to() -> None:
    """Many runs begin with the same one, maybe in several threads."""
    empty: Trail[int] = Trail()
    assert list(empty.push(1)) == [1]
    assert empty._items == []
