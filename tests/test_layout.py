"""Tables laid out for a terminal: every cell is kept, whole, and lines fit wherever a cell does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snn_cli.reports import layout

WORDS = st.text("abcxyz0123456789.-", min_size=1, max_size=14)
ROWS = st.integers(2, 7).flatmap(
    lambda n: st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=2, max_size=5)
)  # a heading and rows


@given(ROWS, st.integers(1, 120))
def test_a_table_keeps_every_cell_and_fits(rows, width):
    blocks = layout.table(rows, width)
    words = " ".join(line for lines in blocks for line in lines).split()
    for row in rows[1:]:
        assert all(words.count(cell) >= row.count(cell) for cell in row)
    longest = max(map(len, (line for lines in blocks for line in lines)))
    pair = max(len(head) + 1 + len(cell) for row in rows[1:] for head, cell in zip(rows[0][1:], row[1:], strict=True))
    assert longest <= max(width, pair + 2, *(len(row[0]) for row in rows))


@given(ROWS, st.integers(1, 120))
def test_blocks_begin_with_the_names_of_their_rows(rows, width):
    whole = layout.table(rows, None)
    assert len(whole) == 1
    assert [line.split() for line in whole[0]] == rows
    blocks = layout.table(rows, width)
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sizes[0] + 2 + max(sizes[1:]) > width and sum(sizes) + 2 * (len(sizes) - 1) > width:
        assert len(blocks) == 1  # paragraphs
        return
    assert all([line.split()[0] for line in lines] == [row[0] for row in rows] for lines in blocks)
    across = [[cell for lines in blocks for cell in lines[i].split()[1:]] for i in range(len(rows))]
    assert across == [row[1:] for row in rows]


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=9), st.integers(1, 200))
def test_a_listing_keeps_every_number_to_at_least_three_digits(values, width):
    names = [f"n{i}" for i in range(len(values))]
    listing = layout.Listing([layout.Column("act", 6), *map(layout.Column, names)], width)
    numbers = [listing.number(value) for value in values]
    assert all(
        abs(float(text) - value) <= 5.1e-3 * abs(value) + 1e-320 for text, value in zip(numbers, values, strict=True)
    )
    lines = listing(["lselu", *numbers], ["a-note"]).splitlines()
    assert set(numbers) <= set(" ".join(lines).split())
    assert "a-note" in " ".join(lines).split()
    if listing.digits:
        assert lines[0].split() == ["act", *names]


def test_a_listing_has_six_digits_where_they_fit_and_fewer_only_where_they_do_not():
    heads = [layout.Column("act", 6), *(layout.Column(name) for name in ("gamma", "chi"))]
    assert [layout.Listing(heads, width).digits for width in (200, 32, 31, 26, 25)] == [6, 6, 5, 3, 0]
    assert layout.Listing(heads, 32).number(1 / 3) == "0.333333"
    assert layout.Listing(heads, 25).number(1 / 3) == "0.333333"
    assert layout.Listing(heads, 32).number(None) == "-"


def test_long_names_become_numbers_with_a_legend():
    names = ["relu", "where(x > 0, x, a*(exp(x) - 1)), a = 1.2"]
    assert layout.numbered(names, 60, 80) == (names, [])
    numbers, legend = layout.numbered(names, 20, 30)
    assert numbers == ["[1]", "[2]"]
    assert " ".join(line.strip() for line in legend) == f"[1] relu [2] {names[1]}"
    assert max(map(len, legend)) <= 30
