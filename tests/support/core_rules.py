"""Pairs of C types, local and target, one for each rule of CO-RE, and what is asked of them."""

from collections.abc import Sequence

from tests.support.core_rule import Rule


def _s(body: str, name: str = "s") -> str:
    return f"struct {name} {{ {body} }} __relocatable;"


def _t(body: str, name: str = "s", *, kind: str = "struct") -> str:
    keep = name.replace("___", "_x_")
    return f"{kind} {name} {{ {body} }}; {kind} {name} *keep_{keep};"


_ALL = "ALL_OF(struct s, a)"
_PLACE = "PLACE_OF(struct s, a)"
_EXISTS = "core_field_exists(struct s, a)"
_READ = "struct s *s = (void *)(long)ctx->data;"
_TYPE = "core_type_exists(struct s) + core_type_size(struct s) + core_type_matches(struct s)"


def _fields() -> Sequence[Rule]:
    return (
        Rule("same_layout", _s("int a;"), _t("int a;"), _ALL),
        Rule("moved_member", _s("int a;"), _t("long b; int a;"), _ALL),
        Rule("missing_member", _s("int a;"), _t("int b;"), f"{_EXISTS} + {_ALL}"),
        Rule("missing_type", _s("int a;"), _t("int a;", "other"), f"{_EXISTS} + {_ALL}"),
        Rule("wider_integer", _s("unsigned int a;"), _t("unsigned long a;"), _ALL),
        Rule("other_sign", _s("int a;"), _t("unsigned int a;"), _ALL),
        Rule("integer_against_pointer", _s("long a;"), _t("void *a;"), f"{_EXISTS} + {_PLACE}"),
        Rule("integer_against_enum", _s("int a;"), "enum e { E }; " + _t("enum e a;"), f"{_EXISTS} + {_PLACE}"),
        Rule("integer_against_float", _s("int a;"), _t("float a;"), f"{_EXISTS} + {_PLACE}"),
        Rule("floats_of_two_sizes", _s("float a;"), _t("int b; double a;"), _PLACE),
        Rule("char_against_bool", _s("char a;"), _t("int b; _Bool a;"), _ALL),
        Rule("pointers_of_other_types", _s("int *a;"), _t("int b; const char *a;"), _PLACE),
        Rule(
            "struct_against_union_below_the_root",
            _s("struct { int x; } a;"),
            _t("int b; union { int x; } a;"),
            "ALL_OF(struct s, a.x)",
        ),
        Rule("struct_against_union_at_the_root", _s("int a;"), _t("int a;", kind="union"), f"{_EXISTS} + {_ALL}"),
        Rule("same_name_of_other_kind_hides", _s("int a;"), _t("struct { int a; }; struct { int q; } b;"), _ALL),
        Rule(
            "typedef_and_modifiers_are_skipped",
            "typedef const int num; " + _s("num a;"),
            _t("int b; volatile int a;"),
            _ALL,
        ),
        Rule(
            "typedef_root",
            "typedef struct { int a; } __relocatable s_t;",
            "typedef struct { long b; int a; } s_t; s_t *keep;",
            "ALL_OF(s_t, a)",
        ),
        Rule(
            "typedef_root_matches_no_struct",
            "typedef struct { int a; } __relocatable s_t;",
            _t("int a;", "s_t"),
            "core_field_exists(s_t, a) + ALL_OF(s_t, a)",
        ),
        Rule(
            "enums_of_other_names",
            "enum e { E }; " + _s("enum e a;"),
            "enum f { F }; " + _t("enum f a;"),
            f"{_EXISTS} + {_PLACE}",
        ),
        Rule("anonymous_enum_fits_any", "enum e { E }; " + _s("enum e a;"), _t("int b; enum { F } a;"), _ALL),
        Rule(
            "enum_against_enum64",
            "enum e { E }; " + _s("enum e a;"),
            "enum e { E, G = 0x100000000 }; " + _t("enum e a;"),
            _ALL,
        ),
    )


def _nesting() -> Sequence[Rule]:
    return (
        Rule(
            "member_of_named_struct",
            _s("struct { int x; } in;"),
            _t("int b; struct { int y; int x; } in;"),
            "ALL_OF(struct s, in.x)",
        ),
        Rule("member_moves_into_anonymous_struct", _s("int a;"), _t("int b; struct { int c; int a; };"), _ALL),
        Rule("member_moves_out_of_anonymous_union", _s("union { int a; long b; };"), _t("long b; int a;"), _ALL),
        Rule(
            "deep_anonymous_nesting", _s("int a;"), _t("int x; struct { union { struct { int y; int a; }; }; };"), _ALL
        ),
        Rule("array_element", _s("int a[8];"), _t("int b; int a[8];"), "PLACE_OF(struct s, a[5])"),
        Rule(
            "array_of_other_length",
            _s("int a[8];"),
            _t("int a[4];"),
            "core_field_exists(struct s, a[5]) + core_field_exists(struct s, a[3]) + PLACE_OF(struct s, a[3])",
        ),
        Rule("element_of_other_size", _s("int a[8];"), _t("char b; long a[8];"), "PLACE_OF(struct s, a[3])"),
        Rule("two_dimensions", _s("int a[4][4];"), _t("int b; int a[4][7];"), "PLACE_OF(struct s, a[2][3])"),
        Rule(
            "dimensions_differ_in_number", _s("int a[4][4];"), _t("int a[16];"), "core_field_exists(struct s, a[2][3])"
        ),
        Rule(
            "member_of_an_element",
            _s("struct { int x; } a[4];"),
            _t("struct { int y; int x; } a[4];"),
            "ALL_OF(struct s, a[2].x)",
        ),
        Rule("flexible_array", _s("int n; int a[];"), _t("long n; int a[];"), "PLACE_OF(struct s, a[100])"),
        Rule(
            "array_of_no_elements_in_the_middle",
            _s("int n; int a[4];"),
            _t("int a[0]; int n;"),
            "core_field_exists(struct s, a[0])",
        ),
        Rule("fixed_array_against_flexible", _s("int a[4];"), _t("long n; int a[];"), "PLACE_OF(struct s, a[3])"),
        Rule(
            "root_as_an_array",
            _s("int a;"),
            _t("long b; int a;"),
            "__builtin_preserve_field_info(((struct s *)0)[3].a, 0)",
        ),
        Rule("array_whole", _s("int a[8];"), _t("int b; int a[12];"), _PLACE),
    )


def _flavors() -> Sequence[Rule]:
    two = _t("int a; int b;") + _t("long x; int a; int b;", "s___v2")
    return (
        Rule("local_flavor", _s("int a;", "s___mine"), _t("long b; int a;"), "ALL_OF(struct s___mine, a)"),
        Rule("target_flavor", _s("int a;"), _t("long b; int a;", "s___theirs"), _ALL),
        Rule("flavors_both_ways", _s("int a;", "s___x"), _t("long b; int a;", "s___y"), "ALL_OF(struct s___x, a)"),
        Rule(
            "four_underscores_are_no_flavor",
            _s("int a;", "s____x"),
            _t("long b; int a;"),
            "core_field_exists(struct s____x, a)",
        ),
        Rule(
            "last_flavor_counts",
            _s("int a;", "s___a___b"),
            _t("long b; int a;", "s___a"),
            "ALL_OF(struct s___a___b, a)",
        ),
        Rule("candidates_that_disagree_on_offset", _s("int a;"), two, "core_field_offset(struct s, a)", refused=True),
        Rule("candidates_that_disagree_on_existence_offset", _s("int a;"), two, _EXISTS, refused=True),
        Rule("candidates_that_disagree_on_type_size", _s("int a;"), two, "core_type_size(struct s)", refused=True),
        Rule("candidates_that_agree_on_existence", _s("int a;"), two, "core_type_exists(struct s)"),
        Rule("candidates_with_two_ids", _s("int a;"), two, "core_type_id_target(struct s)", refused=True),
        Rule(
            "only_one_candidate_has_it",
            _s("int only;"),
            _t("int a;") + _t("long b; int only;", "s___2"),
            "ALL_OF(struct s, only)",
        ),
        Rule(
            "candidates_that_agree",
            _s("int a;"),
            _t("int a;") + _t("int a; int c;", "s___2"),
            "core_field_offset(struct s, a)",
        ),
        Rule(
            "first_record_prunes_candidates",
            _s("int only; int a;"),
            _t("int a; int only1;") + _t("int only; int a;", "s___2"),
            "core_field_offset(struct s, only) + core_field_offset(struct s, a)",
        ),
    )


def _bits() -> Sequence[Rule]:
    return (
        Rule("bit_field_moves", _s("unsigned a : 5;"), _t("int b; unsigned c : 3; unsigned a : 5;"), _ALL),
        Rule("bit_field_grows", _s("unsigned a : 5;"), _t("unsigned a : 27;"), _ALL),
        Rule(
            "bit_field_of_64_bits", _s("unsigned long a : 30;"), _t("unsigned long c : 33; unsigned long a : 30;"), _ALL
        ),
        Rule(
            "bit_field_over_a_boundary",
            _s("unsigned a : 20;"),
            "struct s { unsigned c : 20; unsigned a : 20; } __attribute__((packed)); struct s *keep;",
            _ALL,
        ),
        Rule("plain_against_bit_field", _s("unsigned a;"), _t("unsigned c : 3; unsigned a : 5;"), _ALL),
        Rule("bit_field_against_plain", _s("unsigned a : 5;"), _t("int c; unsigned a;"), _ALL),
        Rule("signed_bit_field", _s("int a : 4;"), _t("int c : 7; int a : 9;"), _ALL),
        Rule(
            "bit_field_no_load_can_read",
            _s("unsigned long a : 63;"),
            "struct s { unsigned long c : 3; unsigned long a : 63; } __attribute__((packed)); struct s *keep;",
            "core_field_offset(struct s, a)",
            refused=True,
        ),
    )


def _enums() -> Sequence[Rule]:
    value = "core_enum_value(enum e, E_A) + core_enum_exists(enum e, E_A)"
    return (
        Rule("enumerator_changes", "enum e { E_A };", "enum e { E_B, E_A }; enum e *keep;", value),
        Rule("enumerator_is_gone", "enum e { E_A };", "enum e { E_B }; enum e *keep;", value),
        Rule(
            "enumerator_flavor",
            "enum e { E_A___mine };",
            "enum e { E_B, E_A }; enum e *keep;",
            "core_enum_value(enum e, E_A___mine)",
        ),
        Rule("negative_enumerator", "enum e { E_A = -1 };", "enum e { E_A = -5 }; enum e *keep;", value),
        Rule("enum_becomes_enum64", "enum e { E_A };", "enum e { E_B = 0x100000000, E_A }; enum e *keep;", value),
        Rule("enum64_becomes_enum", "enum e { E_A = 0x100000001 };", "enum e { E_B, E_A }; enum e *keep;", value),
        Rule(
            "enum64_with_sign", "enum e { E_A = -0x100000001 };", "enum e { E_A = -0x200000002 }; enum e *keep;", value
        ),
        Rule(
            "unsigned_top_bit",
            "enum e { E_A = 0xffffffff };",
            "enum e { E_A = 5 }; enum e *keep;",
            "core_enum_value(enum e, E_A)",
            refused=True,
        ),
    )


def _types() -> Sequence[Rule]:
    return (
        Rule("type_that_is_there", _s("int a;"), _t("long a; int b;"), _TYPE),
        Rule("type_that_is_missing", _s("int a;"), _t("int a;", "other"), _TYPE),
        Rule("type_that_matches", _s("int a; struct s *next;"), _t("struct s *next; long more; int a;"), _TYPE),
        Rule("member_of_other_size_does_not_match", _s("int a;"), _t("long a;"), _TYPE),
        Rule("member_of_other_sign_does_not_match", _s("int a;"), _t("unsigned a;"), _TYPE),
        Rule("pointer_depth_does_not_match", _s("int *a;"), _t("int **a;"), _TYPE),
        Rule(
            "subset_of_an_enum_matches",
            "enum e { A, B };",
            "enum e { C, B, A }; enum e *keep;",
            "core_type_exists(enum e) + core_type_matches(enum e) + core_type_size(enum e)",
        ),
        Rule(
            "superset_of_an_enum_does_not_match",
            "enum e { A, B };",
            "enum e { A }; enum e *keep;",
            "core_type_matches(enum e)",
        ),
        Rule(
            "declared_struct_behind_a_pointer",
            "struct o; " + _s("struct o *a;"),
            "struct o { int x; }; " + _t("struct o *a;"),
            _TYPE,
        ),
        Rule(
            "function_pointers_of_other_arity",
            "typedef int (*f_t)(int, long);",
            "typedef int (*f_t)(int); f_t keep;",
            "core_type_exists(f_t) + core_type_matches(f_t)",
        ),
        Rule(
            "function_pointers_that_match",
            "typedef int (*f_t)(int, long);",
            "typedef int (*f_t)(int, long); f_t keep;",
            "core_type_exists(f_t) + core_type_matches(f_t) + core_type_size(f_t)",
        ),
        Rule("array_length_matters_to_matching", _s("int a[4];"), _t("int a[5];"), _TYPE),
        Rule(
            "ids_of_types", _s("int a;"), _t("int a;"), "core_type_id_target(struct s) + core_type_id_local(struct s)"
        ),
        Rule(
            "typedef_of_a_number",
            "typedef int n_t;",
            "typedef long n_t; n_t keep;",
            "core_type_exists(n_t) + core_type_size(n_t) + core_type_matches(n_t)",
        ),
    )


def _accesses() -> Sequence[Rule]:
    def read(name: str, types: str, target: str, asked: str = "s->a", *, refused: bool = False) -> Rule:
        return Rule(name, types, target, asked, refused=refused, setup=_READ)

    return (
        read("load_moves", _s("int a;"), _t("long b; int a;")),
        read("load_grows", _s("unsigned a;"), _t("long b; unsigned long a;")),
        read("load_shrinks", _s("unsigned long a;"), _t("unsigned short a;")),
        read("signed_load_of_other_size_is_poisoned", _s("int a;"), _t("long a;")),
        read("pointer_load_of_same_size", _s("char *a;"), _t("int b; int *a;"), "(long)s->a"),
        read("load_of_a_bool", _s("_Bool a;"), _t("int b; char a;")),
        read("load_of_an_element", _s("unsigned a[4];"), _t("long b; unsigned a[6];"), "s->a[2]"),
        read("load_of_an_element_of_other_size", _s("unsigned a[4];"), _t("unsigned long a[6];"), "s->a[2]"),
        read("load_of_what_is_gone", _s("int a;"), _t("int b;")),
        read("load_beyond_the_offset_field", _s("int a;"), _t("char b[40000]; int a;"), refused=True),
        read("load_of_16_bytes", _s("unsigned a;"), _t("unsigned __int128 a;"), refused=True),
        Rule(
            "store_moves",
            _s("int a; unsigned b;"),
            _t("long x; unsigned b; int a;"),
            "0",
            setup=_READ + " s->a = 7; s->b = ctx->data;",
        ),
        Rule("store_grows", _s("unsigned a;"), _t("long x; unsigned long a;"), "0", setup=_READ + " s->a = ctx->data;"),
    )


RULES = (*_fields(), *_nesting(), *_flavors(), *_bits(), *_enums(), *_types(), *_accesses())
