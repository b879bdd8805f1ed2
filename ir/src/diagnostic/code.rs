//! The codes of diagnostics, and what each means.

use std::fmt;

macro_rules! codes {
    ($( $(#[doc = $doc:literal])* $variant:ident $id:literal $title:literal { $( wrong: $wrong:literal, right: $right:literal )? } )*) => {
        /// The code of a diagnostic; codes are never used anew.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Code { $( $(#[doc = $doc])* $variant ),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[ $( Code::$variant ),* ];

            /// The code as it is printed: `SW0005`.
            pub const fn id(self) -> &'static str { match self { $( Code::$variant => $id ),* } }

            /// What is wrong, in a few words.
            pub const fn title(self) -> &'static str { match self { $( Code::$variant => $title ),* } }

            /// What is wrong and why that matters.
            pub const fn explanation(self) -> &'static str {
                match self { $( Code::$variant => concat!($( $doc, "\n" ),*) ),* }
            }

            /// An IR text with the error and the same text without it, where a text alone can show it.
            pub const fn example(self) -> Option<(&'static str, &'static str)> {
                // Its first element: the example, if one is given.
                match self { $( Code::$variant => [$( Some(($wrong, $right)), )? None][0] ),* }
            }
        }
    };
}

codes! {
    /// Outside of comments and strings the IR's text holds names, numbers and the signs of its grammar only.
    UnexpectedCharacter "SW0001" "a character that starts no token" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x; : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// A string (they stand after `loc`) ends on the line on which it starts; it holds no quote and no escape.
    UnterminatedString "SW0002" "a string without an end" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4] loc \"act\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4] loc \"act\"\n  return %0\n}\n"
    }
    /// The text does not go on as the grammar wants. The message says what could stand here.
    UnexpectedToken "SW0003" "a token that does not fit the grammar" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 relu %x : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// A number cannot be read: it has letters in it, is too large for its place, or is a float that is not finite.
    BadNumber "SW0004" "a number that cannot be read" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = roll %x {shift = 12x} : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[1,2,2,4]) -> f32[1,2,2,4] {\n  %0 = roll %x {shift = 1} : f32[1,2,2,4]\n  return %0\n}\n"
    }
    /// There is no op of this name. docs/ir.md lists them all.
    UnknownOp "SW0005" "an unknown op" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = rleu %x : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// Elements are `f32`, `i32`, `i16`, `i8` or `u8`.
    UnknownElement "SW0006" "an unknown element type" {
        wrong: "graph @g(%x: f16[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// The op has no attribute of this name, or it is given twice.
    UnknownAttribute "SW0007" "an attribute that the op does not take" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x {slope = 0.1} : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// Every attribute of an op is written; none has a default.
    MissingAttribute "SW0008" "a missing attribute" {
        wrong: "graph @g(%x: f32[4]) -> i8<0.5>[4] {\n  %0 = quantize %x {elem = i8} : i8<0.5>[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> i8<0.5>[4] {\n  %0 = quantize %x {elem = i8, scale = 0.5} : i8<0.5>[4]\n  return %0\n}\n"
    }
    /// The attribute's value is of another kind than the op takes.
    AttributeKind "SW0009" "an attribute of the wrong kind" {
        wrong: "graph @g(%x: f32[4]) -> i8<0.5>[4] {\n  %0 = quantize %x {elem = 8, scale = 0.5} : i8<0.5>[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> i8<0.5>[4] {\n  %0 = quantize %x {elem = i8, scale = 0.5} : i8<0.5>[4]\n  return %0\n}\n"
    }
    /// A name stands for one value: inputs and nodes share the names with `%`, constants have those with `@`.
    DuplicateName "SW0010" "a name that is defined twice" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %x = relu %x : f32[4]\n  return %x\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// Nothing in the text defines this name.
    UndefinedName "SW0011" "a name that nothing defines" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %y : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// The type after `->` must be that of the value that is returned.
    ResultType "SW0012" "a result of another type than the graph declares" {
        wrong: "graph @g(%x: f32[4]) -> f32[5] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// IR texts and model descriptions are UTF-8; the file holds other bytes. Is it a text at all?
    NotUtf8 "SW0013" "a text that is not UTF-8" {}

    /// Invariant 1. A graph computes something of its inputs, so it has at least one.
    NoInput "SW0101" "a graph without inputs" {
        wrong: "graph @g() -> f32[4] {\n  const @x : f32[4]\n  %0 = relu @x : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// Invariant 2. The names of graph, inputs and constants hold ASCII letters, digits, `_`, `.` and `-`; an input's is
    /// not a number, for `%0` is a node; inputs differ from each other by name, and so do constants.
    BadName "SW0102" "a name that cannot be one, or is taken" {
        wrong: "graph @g(%0: f32[4]) -> f32[4] {\n  %1 = relu %0 : f32[4]\n  return %1\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %1 = relu %x : f32[4]\n  return %1\n}\n"
    }
    /// Invariant 3. A type's extents are positive and their product at most 2^31 - 1, so that every index fits in an
    /// `i32`. A scale lies between 1e-24 and 1e24, so that no product of scales leaves the normal numbers of `f32`. Floats
    /// have no scale. Channel scales run along an axis that the type has.
    BadType "SW0103" "a type that no tensor can have" {
        wrong: "graph @g(%x: f32[0]) -> f32[0] {\n  %0 = relu %x : f32[0]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// Invariant 4. The channel scales that a type names are a declared constant: an `f32` vector as long as the axis that
    /// they run along.
    ChannelScales "SW0104" "channel scales that are not declared, or do not fit" {
        wrong: "graph @g(%x: i8<@s:0>[4]) -> f32[4] {\n  %0 = dequantize %x : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: i8<@s:0>[4]) -> f32[4] {\n  const @s : f32[4]\n  %0 = dequantize %x : f32[4]\n  return %0\n}\n"
    }
    /// Invariant 5. Operands are defined before they are used; so a graph has no cycle, and can run from top to bottom.
    UseBeforeDefinition "SW0105" "an operand that does not come before its user" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = add %x, %1 : f32[4]\n  %1 = relu %0 : f32[4]\n  return %1\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  %1 = add %x, %0 : f32[4]\n  return %1\n}\n"
    }
    /// Invariant 6. The op takes these operands and attributes: their number, element types, shapes and scales. There is one
    /// inference (`swint_ir::infer`), and its message says what does not fit.
    IllTyped "SW0106" "an op that does not take its operands" {
        wrong: "graph @g(%x: f32[4], %y: f32[5]) -> f32[4] {\n  %0 = add %x, %y : f32[4]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4], %y: f32[4]) -> f32[4] {\n  %0 = add %x, %y : f32[4]\n  return %0\n}\n"
    }
    /// Invariant 7. The type that is written for a node is the one that its op infers.
    WrongType "SW0107" "a node of another type than its op gives" {
        wrong: "graph @g(%x: f32[4]) -> f32[5] {\n  %0 = relu %x : f32[5]\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4]\n  return %0\n}\n"
    }
    /// Invariant 8. The value that the graph returns exists. Only a program that builds graphs can break it: in a text it
    /// is a name that nothing defines (SW0011).
    NoOutput "SW0108" "a graph that returns what does not exist" {}
    /// Invariant 9. The names after `loc` hold no quote and no control character, so that they can be printed.
    BadLoc "SW0109" "a loc that cannot be printed" {
        wrong: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4] loc \"a\tb\"\n  return %0\n}\n",
        right: "graph @g(%x: f32[4]) -> f32[4] {\n  %0 = relu %x : f32[4] loc \"a.b\"\n  return %0\n}\n"
    }
    /// Invariant 10. The bias of an integer sum is a constant and is added once, to a linear without another: that a sum of
    /// 32,768 products and one bias of at most 2^30 fits in `i32` is what excludes overflow. Integer scores take a bias and a
    /// mask, once, both constants within 2^29; a LayerNorm's β is a constant, too.
    BiasNotBounded "SW0110" "an integer bias that is not a constant, or one too many" {
        wrong: "graph @g(%x: i8[1,2], %b: i32[2]) -> i32[1,2] {\n  const @w : i8[2,2]\n  %0 = linear %x, @w, %b : i32[1,2]\n  return %0\n}\n",
        right: "graph @g(%x: i8[1,2]) -> i32[1,2] {\n  const @w : i8[2,2]\n  const @b : i32[2]\n  %0 = linear %x, @w, @b : i32[1,2]\n  return %0\n}\n"
    }
    /// Invariant 11. Every constant has a value of its shape and element type.
    NoValue "SW0111" "a constant without a value, or with one of another type" {}
    /// Invariant 12. The floats of a constant are finite.
    NotFinite "SW0112" "a constant that is not finite" {}
    /// Invariant 13. Channel scales, and their product with the factor beside them, lie between 1e-24 and 1e24.
    ScaleBounds "SW0113" "channel scales that are too small or too large" {}
    /// Invariant 14. The integer biases of sums lie within 2^30 of zero, those of scores within 2^29: see SW0110.
    BiasBounds "SW0114" "an integer bias that is too large" {}

    /// The pass cannot do its work on this program, or not with these values: the message says why. The program before the
    /// pass is written out, with the command that runs the pass on it again.
    PassRefused "SW0201" "a pass that cannot do its work" {}
    /// The pass made a program that breaks an invariant. That is a defect of swint, whatever the program: please report it
    /// with the files that are named in the message.
    PassInvalid "SW0202" "a pass that made an invalid program" {}
    /// The pass panicked. That is a defect of swint, whatever the program: please report it with the files that are named
    /// in the message.
    PassPanicked "SW0203" "a pass that panicked" {}
    /// The program computes nothing, or computes the weights of a linear, which kernels want packed ahead of time.
    NoPlan "SW0204" "a program that has no plan" {}

    /// The file does not exist, or the system does not let swint read it.
    Unreadable "SW0301" "a file that cannot be read" {}
    /// The model description is no TOML, lacks an entry, has one too many, or one whose value gives no Swin Transformer.
    BadSpec "SW0302" "a model description that is wrong" {}
    /// The checkpoint is no safetensors file, or its tensors are not those of the model description. The message lists
    /// every difference.
    BadCheckpoint "SW0303" "a checkpoint that does not fit" {}
    /// The compiled model is damaged, or of another version of swint.
    BadArtifact "SW0304" "a compiled model that cannot be loaded" {}
    /// The file is no JSON of the schema `swint-bench/1` (docs/bench-schema.md), or what it says cannot be: a time that is not
    /// positive, a median above the 90th percentile, a batch twice.
    BadResults "SW0305" "results of a benchmark that cannot be read" {}
}

impl Code {
    /// The code of an id, in any case of letters.
    pub fn from_id(id: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|c| c.id().eq_ignore_ascii_case(id))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;
    use std::collections::HashSet;

    #[test]
    fn examples_show_what_they_should() {
        for &code in Code::ALL {
            let Some((wrong, right)) = code.example() else { continue };
            text::read("right.ir", right).unwrap_or_else(|e| panic!("{code}, right: {e}"));
            let errors = text::read("wrong.ir", wrong).expect_err(code.id());
            let found: Vec<Code> = errors.errors.iter().map(|e| e.code).collect();
            assert!(found.contains(&code), "{code}, wrong: {found:?} {errors}");
        }
    }

    #[test]
    fn ids_are_unique_and_in_order() {
        assert!(Code::ALL.is_sorted_by(|a, b| a.id() < b.id()));
        let titles: HashSet<_> = Code::ALL.iter().map(|c| c.title()).collect();
        assert_eq!(titles.len(), Code::ALL.len());
        assert_eq!(Code::from_id("sw0005"), Some(Code::UnknownOp));
    }
}
