"""The language of plasticity rules: from a line of text to a checked list of instructions.

    w += η * post * (pre - post * w)                  one assignment or several, with ; between them
    e = tanh(λ) * e + pre * post; w += η * m * e

    pre, post   activations of the synapse's two neurons
    w           its weight; every rule assigns it
    r           the last reward
    m           a modulator: one more output neuron, tanh, there only if a rule names it
    X_pre, X_post   an evolved coefficient X of each neuron: the pre-, the post-synaptic one's
    a name that is assigned   memory of the synapse, 0 at the start
    any other name            an evolved coefficient of each synapse

Nothing is ever evaluated as Python: what is not in the tables below is refused, with one line that
points at the place. A few limits keep any text that passes cheap to compile.
"""

import hashlib
import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

GIVEN = ("pre", "post", "w", "r", "m")  # names that have a meaning of their own
FUNCTIONS = {"tanh": 1, "abs": 1, "sign": 1, "exp": 1, "max": 2, "min": 2}  # -> arguments
NEURON = re.compile(r"(.+)_(pre|post)$")  # X_pre and X_post
MAX_LENGTH = 1000  # characters of a rule
MAX_DEPTH = 40  # of parentheses, signs and powers inside each other
LARGEST = 3.4e38  # a number must fit into a float32
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d_]\w*)|(?P<sign>\*\*|[-+*/]=|[-+*/(),;=])|(?P<end>$)|(?P<bad>.))"
)


class Instruction(NamedTuple):
    """One step of a rule, in the order of evaluation. operands: numbers of earlier instructions;
    of `number` its value, of `name` the name, of `=` the name that is assigned and its value."""

    operation: str
    operands: tuple


@dataclass(frozen=True)
class Rule:
    """A rule that has been checked.

    name: that in the table of rules, or the formula itself. columns: its coefficients of synapses;
    neuron_columns: those of neurons; both in the order of their first appearance, which is that of
    files. memory: the names that last from one step to the next (an assigned name that is never
    read before needs none).
    """

    name: str
    formula: str
    program: tuple[Instruction, ...] = ()
    columns: tuple[str, ...] = ()
    neuron_columns: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    rewarded: bool = False  # it names r
    modulated: bool = False  # it names m

    def __str__(self) -> str:
        return self.name

    def with_columns(self, columns: tuple[str, ...]) -> "Rule":
        """The same rule with its coefficients in this order; ValueError for any other name."""
        if sorted(columns) != sorted(self.columns):
            raise ValueError(f"{self.formula!r} has the columns {self.columns}, not {columns}")
        return replace(self, columns=tuple(columns))


def short_name(rule: str) -> str:
    """A rule as part of a file name: its own name, or what stands for its formula, however that
    is spaced."""
    if "=" not in rule:
        return rule
    digest = hashlib.sha256("".join(rule.split()).encode(errors="backslashreplace"))
    return "formula_" + digest.hexdigest()[:8]


class _Token(NamedTuple):
    kind: str
    text: str
    at: int  # character, from 0


@lru_cache(maxsize=256)
def parse(formula: str) -> Rule:
    """The rule of a formula; ValueError, one line, where it is not one."""
    if len(formula) > MAX_LENGTH:
        raise ValueError(f"a rule of {len(formula)} characters; {MAX_LENGTH} are allowed")
    return _Parser(formula).rule()


class _Parser:
    """Recursive descent over the tokens of a formula, which leaves a flat program behind:

    rule: assignment (';' assignment)*       assignment: name ('=' | '+=' | '-=' | '*=' | '/=') sum
    sum: product (('+' | '-') product)*      product: signed (('*' | '/') signed)*
    signed: ('-' | '+') signed | power       power: atom ['**' signed]
    atom: number | name | function '(' sum (',' sum)* ')' | '(' sum ')'
    """

    def __init__(self, formula: str):
        lines = unicodedata.normalize("NFC", formula).splitlines()
        self.formula = "; ".join(line.strip() for line in lines if line.strip())
        self.tokens = self.tokenize()
        self.next, self.depth = 0, 0
        self.program: list[Instruction] = []
        self.read: dict[str, _Token] = {}  # name -> where it is read first
        self.unset: set[str] = set()  # names that are read before they are assigned
        self.assigned: dict[str, _Token] = {}

    def tokenize(self) -> list[_Token]:
        tokens, at = [], 0
        while not tokens or tokens[-1].kind != "end":
            found = TOKEN.match(self.formula, at)
            kind, at = found.lastgroup, found.end()
            tokens.append(_Token(kind, found[kind], found.start(kind)))
            if kind == "bad":
                self.fail(tokens[-1], f"unexpected {found[kind]!r}")
        return tokens

    def fail(self, token: _Token, reason: str):
        """Refuse the formula at a token."""
        rest = self.formula[token.at :]
        shown = "".join(letter if letter.isprintable() else "?" for letter in rest[:20])
        where = f"'{shown}{'...' if len(rest) > 20 else ''}'" if rest else "its end"
        raise ValueError(f"rule, character {token.at + 1}, {where}: {reason}")

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self, *texts: str) -> _Token | None:
        """The next token if it is one of these signs."""
        token = self.token
        if token.kind != "sign" or token.text not in texts:
            return None
        self.next += 1
        return token

    def add(self, operation: str, *operands) -> int:
        self.program.append(Instruction(operation, operands))
        return len(self.program) - 1

    def rule(self) -> Rule:
        while self.token.kind != "end":
            if not self.take(";"):
                self.assignment()
                if self.token.kind != "end" and not self.take(";"):
                    self.fail(self.token, "an operator, ; or the end is missing")
        if "w" not in self.assigned:
            self.fail(self.token, "a rule must assign w, as in w += η * pre * post")
        synapses, neurons = self.coefficients()
        memory = tuple(name for name in self.assigned if name in self.unset and name != "w")
        return Rule(
            self.formula, self.formula, tuple(self.program), synapses, neurons, memory,
            "r" in self.read, "m" in self.read,
        )  # fmt: skip

    def coefficients(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The names that evolve: of synapses, of neurons."""
        synapses, neurons = {}, {}
        for name, token in self.read.items():
            if name in GIVEN or name in self.assigned:
                continue
            of_neuron = NEURON.match(name)
            (neurons if of_neuron else synapses)[of_neuron[1] if of_neuron else name] = token
        for name, token in neurons.items():
            if name in GIVEN or name in self.assigned or name in synapses:
                other = "a coefficient of neurons and something else"
                self.fail(token, f"{name} cannot be {other}; rename one of them")
        return tuple(synapses), tuple(neurons)

    def assignment(self) -> None:
        name = self.token
        if name.kind != "name":
            self.fail(name, "an assignment is missing, as in w += η * pre * post")
        self.next += 1
        how = self.take("=", "+=", "-=", "*=", "/=")
        if not how:
            self.fail(self.token, f"=, +=, -=, *= or /= is missing after {name.text}")
        if name.text in ("pre", "post", "r", "m") or name.text in FUNCTIONS:
            self.fail(name, f"{name.text} cannot be assigned")
        if NEURON.match(name.text):
            self.fail(name, "names in _pre and _post are coefficients of neurons")
        old = self.name(name) if how.text != "=" else None
        value = self.sum()
        if old is not None:
            value = self.add(how.text[0], old, value)
        self.add("=", name.text, value)
        self.assigned.setdefault(name.text, name)

    def sum(self) -> int:
        return self.chain(self.product, "+", "-")

    def product(self) -> int:
        return self.chain(self.signed, "*", "/")

    def chain(self, part, *signs: str) -> int:
        value = part()
        while sign := self.take(*signs):
            value = self.add(sign.text, value, part())
        return value

    def signed(self) -> int:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(self.token, f"more than {MAX_DEPTH} levels inside each other")
        if sign := self.take("-", "+"):
            value = self.signed()
            value = self.add("negative", value) if sign.text == "-" else value
        else:
            value = self.power()
        self.depth -= 1
        return value

    def power(self) -> int:
        base = self.atom()
        return self.add("**", base, self.signed()) if self.take("**") else base

    def atom(self) -> int:
        token = self.token
        if self.take("("):
            value = self.sum()
            self.close()
            return value
        if token.kind not in ("number", "name"):
            self.fail(token, "a name, a number or ( is missing")
        self.next += 1
        if token.kind == "number":
            if not float(token.text) <= LARGEST:
                self.fail(token, "this number is too large for a float32")
            return self.add("number", float(token.text))
        if self.take("("):
            return self.call(token)
        if token.text in FUNCTIONS:
            self.fail(token, f"{token.text} is a function: write {token.text}(...)")
        return self.name(token)

    def call(self, function: _Token) -> int:
        if function.text not in FUNCTIONS:
            allowed = ", ".join(FUNCTIONS)
            self.fail(function, f"unknown function {function.text}; allowed: {allowed}")
        arguments = [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        self.close()
        if len(arguments) != FUNCTIONS[function.text]:
            needed = FUNCTIONS[function.text]
            self.fail(function, f"{function.text} takes {needed} values, not {len(arguments)}")
        return self.add(function.text, *arguments)

    def close(self) -> None:
        if not self.take(")"):
            self.fail(self.token, ") is missing")

    def name(self, token: _Token) -> int:
        self.read.setdefault(token.text, token)
        if token.text not in self.assigned:
            self.unset.add(token.text)
        return self.add("name", token.text)
