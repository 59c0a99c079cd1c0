"""A mistake in a configuration file is an error that says where it is and what would be right."""

from pathlib import Path

import pytest

from tenant_lifecycle.errors import ConfigError
from tenant_lifecycle.yaml_file import Node, load, parse


def read(text: str, **environ: str) -> Node:
    return parse(text, "f.yaml", environ=environ)


def refused(call, *words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_values_come_out_as_what_they_must_be() -> None:
    node = read("a: some text\nb: 12\nc: true\nd: 1.5\ne: [x, y]\nf: {g: blue}\nh:\n")
    fields = node.mapping({"a", "b", "c", "d", "e", "f", "h"}, required=("a",))
    assert fields["a"].text() == "some text"
    assert fields["b"].integer(minimum=1, maximum=12) == 12 and fields["b"].number() == 12.0
    assert fields["c"].boolean() is True
    assert fields["d"].number() == 1.5
    assert [item.text() for item in fields["e"].list()] == ["x", "y"]
    assert fields["f"].mapping()["g"].choice(("blue", "green")) == "blue"
    assert fields["h"].is_null and not fields["a"].is_null


def test_a_node_knows_its_line_and_its_way_from_the_top() -> None:
    deep = read("a:\n  b:\n    - x: 1\n    - y: 2\n").mapping()["a"].mapping()["b"].list()[1].mapping()["y"]
    assert (deep.line, deep.path) == (4, "a.b[1].y")
    assert str(deep.error("is odd")) == "f.yaml:4: a.b[1].y: is odd"


def test_yes_and_no_are_text() -> None:
    assert read("a: no").mapping()["a"].text() == "no"
    refused(lambda: read("a: yes").mapping()["a"].boolean(), "f.yaml:1", "true or false")


@pytest.mark.parametrize(
    ("text", "ask", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", lambda n: n.mapping(), ("f.yaml:3", "second time", "line 1")),
        (
            "tables: 1\ntabels: 2\n",
            lambda n: n.mapping({"tables"}),
            ("f.yaml:2", "'tabels'", "mean 'tables'"),
        ),
        ("zzz: 1", lambda n: n.mapping({"dsn", "kind"}), ("valid are dsn, kind",)),
        ("a: 1", lambda n: n.mapping({"a", "b"}, required=("b",)), ("f.yaml:1", "'b' is missing")),
        ("- a", lambda n: n.mapping(), ("found a list",)),
        ("", lambda n: n.mapping(), ("f.yaml:1", "found nothing")),
        ("a:\n", lambda n: n.mapping()["a"].text(), ("f.yaml:1: a:", "found nothing")),
        ("a: ''", lambda n: n.mapping()["a"].text(), ("empty",)),
        ("a: 12", lambda n: n.mapping()["a"].text(), ("found a number", "quotes")),
        ("a: {}", lambda n: n.mapping()["a"].text(), ("found keys and values",)),
        ("a: '12'", lambda n: n.mapping()["a"].integer(), ("whole number", "found text")),
        ("a: 1.5", lambda n: n.mapping()["a"].integer(), ("whole number",)),
        ("a: 0", lambda n: n.mapping()["a"].integer(minimum=1), ("too small", "1")),
        ("a: 99", lambda n: n.mapping()["a"].integer(maximum=16), ("too large", "16")),
        ("a: {}", lambda n: n.mapping()["a"].list(), ("expected a list",)),
        ("a: bleu", lambda n: n.mapping()["a"].choice(("blue", "red")), ("'bleu'", "mean 'blue'")),
        ("a: !x 1", lambda n: n.mapping()["a"].text(), ("tag", "!x")),
        ("a: !x {}", lambda n: n.mapping()["a"].mapping(), ("tags", "!x")),
        ("b: &b {c: 1}\na:\n  <<: *b\n", lambda n: n.mapping()["a"].mapping(), ("f.yaml:3", "plain word")),
        ("? [a]\n: 1\n", lambda n: n.mapping(), ("plain word",)),
    ],
)
def test_a_mistake_names_its_line_and_the_remedy(text: str, ask, words) -> None:
    refused(lambda: ask(read(text)), *words)


def test_broken_yaml_names_the_line() -> None:
    refused(lambda: read("a: 1\nb: [1, 2\nc: 3\n"), "f.yaml:", "not valid YAML")
    refused(lambda: read("a: 1\n---\nb: 2\n"), "f.yaml:", "not valid YAML")


def test_variables_are_filled_in_for_every_type() -> None:
    fields = read("a: x-${A}-$${B}-$C\nb: ${N}\nc: ${T}\n", A="1", N="12", T="true").mapping()
    assert fields["a"].text() == "x-1-${B}-$C"
    assert fields["b"].integer() == 12 and fields["c"].boolean() is True


def test_a_missing_variable_is_named_and_never_empty() -> None:
    refused(lambda: read("x: 1\na: ${PGPASS}").mapping()["a"].text(), "f.yaml:2", "PGPASS", "not set")
    refused(lambda: read("a: ${PG-x}").mapping()["a"].text(), "names no variable")
    refused(lambda: read("a: ${PG").mapping()["a"].text(), "names no variable")


def test_the_value_of_a_variable_is_never_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        read("a: ${S}", S="hush").mapping()["a"].choice(("blue",))
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        read("a: ${S}", S="hush").mapping()["a"].integer()
    assert "hush" not in str(caught.value)


def test_without_substitution_a_dollar_is_text() -> None:
    assert parse("a: ${X}", "f", substitute=False).mapping()["a"].text() == "${X}"


def test_files_that_cannot_be_read_are_configuration_errors(tmp_path: Path) -> None:
    refused(lambda: load(tmp_path / "none.yaml"), "none.yaml", "no such file")
    (tmp_path / "bad.yaml").write_bytes(b"a: \xff\xfe")
    refused(lambda: load(tmp_path / "bad.yaml"), "bad.yaml", "cannot be read")
    (tmp_path / "good.yaml").write_text("a: b\n")
    assert load(tmp_path / "good.yaml").mapping()["a"].text() == "b"
