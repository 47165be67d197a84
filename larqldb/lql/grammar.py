"""The grammar as one table: what the parser accepts, what `render` prints and what ``help`` says.

A `Form` is one statement: its verb, then its head (keywords and operands in order), then its clauses (in any order,
each at most once). Operands and clauses name the field of the node that they fill; clauses that fill the same field
exclude each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from larqldb.lql import nodes


class Kind(Enum):
    """What an operand is; the value is how help writes it."""

    TEXT = "str"
    SOURCE = "(CURRENT|str)"
    INTEGER = "n"  # 0 or more
    COUNT = "n "  # 1 or more
    NUMBER = "num"
    LAYERS = "a-b"
    CHOICE = "(…)"
    CHOICES = "(…) {, …}"
    CONDITION = "condition"
    ASSIGNMENTS = "column = value {, column = value}"
    ROWS = "(entity, relation, target) (VALUES (str, str, str) {, (str, str, str)} | SELECT …)"


@dataclass(frozen=True, slots=True)
class Operand:
    """A value in the head of a statement."""

    field: str
    kind: Kind
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Clause:
    """An optional part of a statement.

    Without ``kind`` it is a flag that sets ``field`` to ``value``. Without ``words`` its operand stands alone.
    ``excludes`` are fields that may not be set beside it, ``only`` a field and the value it must have, ``becomes`` the
    node a statement with this clause is.
    """

    words: tuple[str, ...]
    field: str
    means: str
    kind: Kind | None = None
    value: Any = True
    options: tuple[str, ...] = ()
    equals: bool | None = False  # whether "=" follows the words; None: it may
    excludes: tuple[str, ...] = ()
    only: tuple[str, str] | None = None
    becomes: type[nodes.Statement] | None = None

    @property
    def name(self) -> str:
        """The clause's words, or what stands alone in their place."""
        return " ".join(self.words) or operand_syntax(self)

    @property
    def syntax(self) -> str:
        """The clause as help writes it."""
        equals = {True: "=", False: "", None: "[=]"}[self.equals]
        return " ".join(filter(None, (*self.words, equals, operand_syntax(self))))


@dataclass(frozen=True, slots=True)
class Form:
    """One statement of the language."""

    verb: tuple[str, ...]
    node: type[nodes.Statement]
    head: tuple[str | Operand, ...]
    clauses: tuple[Clause, ...]
    summary: str
    example: str

    @property
    def name(self) -> str:
        """The verb as users write it."""
        return " ".join(self.verb)

    @property
    def syntax(self) -> str:
        """The whole statement on one line."""
        head = (item if isinstance(item, str) else operand_syntax(item) for item in self.head)
        clauses = " | ".join(clause.syntax for clause in self.clauses)
        return " ".join((*self.verb, *head, *((f"{{ {clauses} }}",) if clauses else ())))


def operand_syntax(part: Operand | Clause) -> str:
    """How help writes the operand of a clause or head."""
    if part.kind is None:
        return ""
    choice = f"({'|'.join(part.options)})"
    return part.kind.value.replace("(…)", choice).strip()


_TOP = Clause(("TOP",), "top", "at most n rows of each layer or list; n is 1 or more", Kind.COUNT)
_AT_LAYER = Clause(("AT", "LAYER"), "layer", "only layer n, counted from 0", Kind.INTEGER)
_LAYERS = Clause(("LAYERS",), "layers", "only layers a to b, both included", Kind.LAYERS)
_LIMIT = Clause(("LIMIT",), "limit", "at most n rows", Kind.INTEGER)
_RELATIONS_ONLY = Clause(("RELATIONS", "ONLY"), "relations_only", "only what carries a relation's name")
_BANDS = (
    Clause(("SYNTAX",), "band", "only the first layers, which deal with form", value="syntax"),
    Clause(("KNOWLEDGE",), "band", "only the middle layers, which hold facts", value="knowledge"),
    Clause(("OUTPUT",), "band", "only the last layers, which prepare the answer", value="output"),
)
_ALL_LAYERS = Clause(("ALL", "LAYERS"), "band", "every layer", value="all", excludes=("layer", "layers"))


def _detail(**means: str) -> tuple[Clause, ...]:
    return tuple(Clause((word,), "detail", text, value=word.lower()) for word, text in means.items())


_EXPLAIN = (
    _TOP,
    _LAYERS,
    _ALL_LAYERS,
    *_BANDS,
    _RELATIONS_ONLY,
    Clause(("VERBOSE",), "verbose", "also each feature's band, score, norms and the source of its relation"),
    Clause(("WITH", "ATTENTION"), "attention", "also what attention read and the logit lens, layer by layer"),
)

FORMS: tuple[Form, ...] = (
    Form(
        ("EXTRACT",),
        nodes.Extract,
        ("MODEL", Operand("model", Kind.TEXT), "INTO", Operand("target", Kind.TEXT)),
        (
            Clause(
                ("COMPONENTS",),
                "components",
                "only these parts of the model",
                Kind.CHOICES,
                options=("FFN_GATE", "FFN_UP", "FFN_DOWN", "EMBEDDINGS", "ATTN_OV", "ATTN_QK"),
            ),
            _LAYERS,
            Clause(
                ("WITH",),
                "level",
                "how much is stored: what INFER needs, or all that COMPILE needs",
                Kind.CHOICE,
                options=("INFERENCE", "ALL", "WEIGHTS"),
            ),
        ),
        "Take a model's files apart into a vindex.",
        'EXTRACT MODEL "google/gemma-3-270m" INTO "gemma.vindex" WITH ALL',
    ),
    Form(("USE",), nodes.Use, (Operand("path", Kind.TEXT),), (), "Work on another vindex.", 'USE "gemma.vindex"'),
    Form(
        ("USE", "MODEL"),
        nodes.UseModel,
        (Operand("model", Kind.TEXT),),
        (Clause(("AUTO_EXTRACT",), "auto_extract", "extract the model first where there is no vindex of it"),),
        "Work on a model by its name.",
        'USE MODEL "google/gemma-3-270m" AUTO_EXTRACT',
    ),
    Form(
        ("USE", "REMOTE"),
        nodes.UseRemote,
        (Operand("url", Kind.TEXT),),
        (),
        "Work on a vindex that a server holds.",
        'USE REMOTE "http://localhost:8080"',
    ),
    Form(
        ("COMPILE",),
        nodes.Compile,
        (
            Operand("source", Kind.SOURCE),
            "INTO",
            Operand("kind", Kind.CHOICE, ("MODEL", "VINDEX")),
            Operand("target", Kind.TEXT),
        ),
        (
            Clause(
                ("FORMAT",),
                "format",
                "the model files' format",
                Kind.CHOICE,
                options=("SAFETENSORS", "GGUF"),
                only=("kind", "model"),
            ),
            Clause(
                ("QUANT",),
                "quant",
                "the type of matrices; without it their own",
                Kind.CHOICE,
                options=("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1"),
                only=("kind", "model"),
            ),
            Clause(
                ("SLOTS",),
                "slots",
                "whether layers grow for what was added, or the features they use least make room",
                Kind.CHOICE,
                options=("GROW", "REPLACE"),
                only=("kind", "model"),
            ),
            Clause(
                ("ON", "CONFLICT"),
                "on_conflict",
                "which of two edits of one fact counts",
                Kind.CHOICE,
                options=("LAST_WINS", "HIGHEST_CONFIDENCE", "FAIL"),
                only=("kind", "vindex"),
            ),
        ),
        "Write the model with its edits as model files or as a new vindex.",
        'COMPILE CURRENT INTO MODEL "edited.gguf" FORMAT GGUF QUANT Q8_0',
    ),
    Form(
        ("DIFF",),
        nodes.Diff,
        (Operand("left", Kind.SOURCE), Operand("right", Kind.SOURCE)),
        (
            Clause(("LAYER",), "layer", "only layer n, counted from 0", Kind.INTEGER),
            Clause(("RELATION",), "relation", "only facts of this relation", Kind.TEXT),
            Clause(("RELATIONS",), "relation", "the same as RELATION", Kind.TEXT),
            _LIMIT,
            Clause(
                ("INTO", "PATCH"),
                "patch",
                "write the difference as a patch file",
                Kind.TEXT,
                becomes=nodes.DiffIntoPatch,
            ),
        ),
        "What differs between two vindexes.",
        'DIFF "base.vindex" CURRENT RELATION "capital" LIMIT 20',
    ),
    Form(
        ("COMPACT", "MINOR"),
        nodes.CompactMinor,
        (),
        (),
        "Turn key/value entries into composed features.",
        "COMPACT MINOR",
    ),
    Form(
        ("COMPACT", "MAJOR"),
        nodes.CompactMajor,
        (),
        (
            Clause(("FULL",), "full", "every composed feature, not only those added since the last time"),
            Clause(("ALL",), "full", "the same as FULL"),
            Clause(("WITH", "LAMBDA"), "ridge", "the ridge regression's λ", Kind.NUMBER, equals=True),
        ),
        "Turn composed features into one change of the weights.",
        "COMPACT MAJOR FULL WITH LAMBDA = 0.001",
    ),
    Form(
        ("WALK",),
        nodes.Walk,
        (Operand("prompt", Kind.TEXT),),
        (
            _TOP,
            Clause(("LAYERS", "ALL"), "layers", "every layer, as without the clause", value=None),
            _LAYERS,
            Clause(
                ("MODE",),
                "mode",
                "rank by true contribution, by gate search alone, or pull every row",
                Kind.CHOICE,
                options=("HYBRID", "PURE", "DENSE"),
            ),
            Clause(("COMPARE",), "compare", "the walk beside the dense network, told apart by the column mode"),
        ),
        "The features a prompt passes through, layer by layer.",
        'WALK "The capital of France is" TOP 5 LAYERS 10-20 MODE PURE',
    ),
    Form(
        ("INFER",),
        nodes.Infer,
        (Operand("prompt", Kind.TEXT),),
        (
            Clause(("TOP",), "top", "the n most probable tokens; n is 1 or more", Kind.COUNT),
            Clause(("COMPARE",), "compare", "the walk beside the dense network, told apart by the column mode"),
            Clause(
                ("GENERATE",), "generate", "n tokens of text instead; n is 1 or more", Kind.COUNT, excludes=("top",)
            ),
        ),
        "What the model says next.",
        'INFER "The capital of France is" TOP 3',
    ),
    Form(
        ("DESCRIBE",),
        nodes.Describe,
        (Operand("entity", Kind.TEXT),),
        (
            _AT_LAYER,
            _ALL_LAYERS,
            *_BANDS,
            _RELATIONS_ONLY,
            *_detail(
                VERBOSE="all rows instead of fifty: weaker evidence as well",
                BRIEF="ten rows: the surest",
                RAW="all rows, one for each feature that is evidence",
            ),
        ),
        "What the model answers about an entity, asked now if it never was; then what its weights associate with it.",
        'DESCRIBE "France" KNOWLEDGE RELATIONS ONLY',
    ),
    Form(
        ("EXPLAIN", "WALK"),
        nodes.ExplainWalk,
        (Operand("prompt", Kind.TEXT),),
        _EXPLAIN,
        "The rows of WALK with bands, labels and attention.",
        'EXPLAIN WALK "The capital of France is" LAYERS 20-29 VERBOSE',
    ),
    Form(
        ("EXPLAIN", "INFER"),
        nodes.ExplainInfer,
        (Operand("prompt", Kind.TEXT),),
        _EXPLAIN,
        "The features that made the answer of INFER.",
        'EXPLAIN INFER "The capital of France is" KNOWLEDGE TOP 3 WITH ATTENTION',
    ),
    Form(
        ("INSERT", "INTO", "EDGES"),
        nodes.Insert,
        (Operand("rows", Kind.ROWS),),
        (
            _AT_LAYER,
            Clause(("CONFIDENCE",), "confidence", "the confidence recorded with the fact", Kind.NUMBER),
            Clause(("ALPHA",), "alpha", "the strength of the new feature's output", Kind.NUMBER),
            Clause(
                ("MODE",),
                "mode",
                "an entry looked up beside the network, or a feature of its own in it",
                Kind.CHOICE,
                options=("KNN", "COMPOSE"),
                equals=None,
            ),
            Clause(("REGRESSION",), "regression", "roll back when more than this changes elsewhere", Kind.NUMBER),
        ),
        "Teach the model a fact.",
        'INSERT INTO EDGES (entity, relation, target) VALUES ("Atlantis", "capital", "Poseidon") MODE COMPOSE',
    ),
    Form(
        ("DELETE", "FROM", "EDGES"),
        nodes.Delete,
        ("WHERE", Operand("where", Kind.CONDITION)),
        (),
        "Make the model forget facts.",
        'DELETE FROM EDGES WHERE entity = "Atlantis" AND relation = "capital"',
    ),
    Form(
        ("UPDATE", "EDGES"),
        nodes.Update,
        ("SET", Operand("assignments", Kind.ASSIGNMENTS), "WHERE", Operand("where", Kind.CONDITION)),
        (),
        "Change facts the model holds.",
        'UPDATE EDGES SET target = "London" WHERE entity = "John Coyle" AND relation = "lives-in"',
    ),
    Form(
        ("MERGE",),
        nodes.Merge,
        (Operand("source", Kind.TEXT),),
        (
            Clause(("INTO",), "target", "the vindex that receives the edits, else the current one", Kind.TEXT),
            Clause(
                ("ON", "CONFLICT"),
                "on_conflict",
                "which of two edits of one fact counts",
                Kind.CHOICE,
                options=("KEEP_SOURCE", "KEEP_TARGET", "HIGHEST_CONFIDENCE"),
            ),
        ),
        "Bring one vindex's edits into another.",
        'MERGE "medical.vindex" ON CONFLICT KEEP_TARGET',
    ),
    Form(
        ("REBALANCE",),
        nodes.Rebalance,
        (),
        (
            Clause(("UNTIL", "CONVERGED"), "until_converged", "go on until nothing changes", excludes=("maximum",)),
            Clause(("MAX",), "maximum", "at most n passes; n is 1 or more", Kind.COUNT),
            Clause(("FLOOR",), "floor", "the lowest probability an answer should have", Kind.NUMBER, equals=None),
            Clause(("CEILING",), "ceiling", "the highest probability an answer should have", Kind.NUMBER, equals=None),
        ),
        "Rescale composed features until their answers are neither weak nor overbearing.",
        "REBALANCE MAX 8 FLOOR 0.3 CEILING 0.9",
    ),
    Form(
        ("SHOW", "RELATIONS"),
        nodes.ShowRelations,
        (),
        (
            _AT_LAYER,
            Clause(("WITH", "EXAMPLES"), "examples", "also three facts of each relation"),
            *_detail(
                VERBOSE="also descriptions, wordings and the mean confidence",
                BRIEF="the twenty largest only",
                RAW="one row for each relation and layer, not merged",
            ),
        ),
        "The relations the model is known to hold.",
        "SHOW RELATIONS WITH EXAMPLES",
    ),
    Form(
        ("SHOW", "LAYERS"),
        nodes.ShowLayers,
        (),
        (
            Clause(("RANGE",), "layers", "only layers a to b, both included", Kind.LAYERS),
            Clause((), "layers", "the same as RANGE a-b", Kind.LAYERS),
        ),
        "The layers: bands, sizes and norms.",
        "SHOW LAYERS 10-20",
    ),
    Form(
        ("SHOW", "FEATURES"),
        nodes.ShowFeatures,
        (Operand("layer", Kind.INTEGER),),
        (
            Clause(("WHERE",), "where", "only features for which this holds", Kind.CONDITION),
            _LIMIT,
        ),
        "The features of a layer and what they promote.",
        "SHOW FEATURES 26 WHERE score > 1.5 LIMIT 10",
    ),
    Form(
        ("SHOW", "ENTITIES"),
        nodes.ShowEntities,
        (),
        (
            _AT_LAYER,
            Clause((), "layer", "the same as AT LAYER n", Kind.INTEGER),
            _LIMIT,
        ),
        "The entities the model is known to know.",
        "SHOW ENTITIES AT LAYER 26 LIMIT 50",
    ),
    Form(("SHOW", "MODELS"), nodes.ShowModels, (), (), "The model in this vindex.", "SHOW MODELS"),
    Form(("SHOW", "PATCHES"), nodes.ShowPatches, (), (), "The patches, in the order they act.", "SHOW PATCHES"),
    Form(
        ("SHOW", "COMPACT", "STATUS"),
        nodes.ShowCompactStatus,
        (),
        (),
        "What COMPACT MINOR and COMPACT MAJOR would work on.",
        "SHOW COMPACT STATUS",
    ),
    Form(
        ("STATS",),
        nodes.Stats,
        (),
        (Clause((), "path", "another vindex than the current one", Kind.TEXT),),
        "Sizes and properties of a vindex.",
        "STATS",
    ),
    Form(
        ("BEGIN", "PATCH"),
        nodes.BeginPatch,
        (Operand("patch", Kind.TEXT),),
        (),
        "Collect the edits that follow in a patch.",
        'BEGIN PATCH "medical.vlp"',
    ),
    Form(
        ("SAVE", "PATCH"),
        nodes.SavePatch,
        (),
        (Clause((), "patch", "another patch than the open one", Kind.TEXT),),
        "Write a patch to its file.",
        "SAVE PATCH",
    ),
    Form(
        ("APPLY", "PATCH"),
        nodes.ApplyPatch,
        (Operand("patch", Kind.TEXT),),
        (),
        "Put a patch into effect.",
        'APPLY PATCH "medical.vlp"',
    ),
    Form(
        ("REMOVE", "PATCH"),
        nodes.RemovePatch,
        (Operand("patch", Kind.TEXT),),
        (),
        "Take a patch out of effect.",
        'REMOVE PATCH "medical.vlp"',
    ),
    Form(
        ("TRACE",),
        nodes.Trace,
        (Operand("prompt", Kind.TEXT),),
        (
            Clause(("FOR",), "answer", "follow this token instead of the most probable one", Kind.TEXT),
            Clause(("DECOMPOSE",), "decompose", "also what attention and the FFN added to the token's logit"),
            _LAYERS,
            Clause(("POSITIONS", "ALL"), "positions", "every position of the prompt", value="all"),
            Clause(("POSITIONS", "LAST"), "positions", "the last position, as without the clause", value="last"),
            Clause(("POSITIONS",), "positions", "the same as POSITIONS ALL", value="all"),
            Clause(("SAVE",), "save", "write the rows to this file", Kind.TEXT, becomes=nodes.TraceSave),
        ),
        "How an answer forms, layer by layer.",
        'TRACE "The capital of France is" FOR "Paris" DECOMPOSE LAYERS 20-29',
    ),
)

FORM_OF: dict[type[nodes.Statement], Form] = {
    node: form
    for form in FORMS
    for node in (form.node, *(clause.becomes for clause in form.clauses if clause.becomes is not None))
}
