from ukernel.tables import format_table


def test_rows_stand_in_columns_below_their_names():
    assert format_table(("name", "size"), [("a", 1), ("longer", 23)]) == "name    size\na       1\nlonger  23"
    assert format_table(("name", "size"), []) == "name  size"
