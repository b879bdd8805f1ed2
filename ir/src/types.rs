//! Element types, scales and tensor types.

use std::{fmt, sync::Arc};

/// An `f32` that compares and hashes by its bits, so that types and ops are `Eq + Hash`. Prints so that it parses back
/// to the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct F32(u32);

impl F32 {
    /// The number one: the scale of raw integers.
    pub const ONE: F32 = F32(1f32.to_bits());

    /// Wraps a float. Negative zero becomes zero, so that equal scales have equal bits.
    pub fn new(value: f32) -> Self {
        F32(if value == 0.0 { 0 } else { value.to_bits() })
    }

    /// The float.
    pub const fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl fmt::Display for F32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Debug` of f32 is the shortest text that parses back, always with a point or an exponent.
        write!(f, "{:?}", self.get())
    }
}

impl fmt::Debug for F32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Element type of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Elem {
    /// IEEE-754 binary32.
    F32,
    /// 32-bit signed: accumulators and biases.
    I32,
    /// 16-bit signed.
    I16,
    /// 8-bit signed: weights and activations.
    I8,
    /// 8-bit unsigned: pixels, probabilities, activations after ReLU.
    U8,
}

impl Elem {
    /// Every element type.
    pub const ALL: [Elem; 5] = [Elem::F32, Elem::I32, Elem::I16, Elem::I8, Elem::U8];

    /// The name in the text form.
    pub const fn name(self) -> &'static str {
        match self {
            Elem::F32 => "f32",
            Elem::I32 => "i32",
            Elem::I16 => "i16",
            Elem::I8 => "i8",
            Elem::U8 => "u8",
        }
    }

    /// The element type of a name.
    pub fn from_name(name: &str) -> Option<Elem> {
        Elem::ALL.into_iter().find(|e| e.name() == name)
    }

    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Elem::F32 | Elem::I32 => 4,
            Elem::I16 => 2,
            Elem::I8 | Elem::U8 => 1,
        }
    }

    /// Smallest and largest value of an integer type; `None` for `f32`.
    pub const fn range(self) -> Option<(i32, i32)> {
        match self {
            Elem::F32 => None,
            Elem::I32 => Some((i32::MIN, i32::MAX)),
            Elem::I16 => Some((i16::MIN as i32, i16::MAX as i32)),
            Elem::I8 => Some((i8::MIN as i32, i8::MAX as i32)),
            Elem::U8 => Some((0, u8::MAX as i32)),
        }
    }

    /// Whether it is an integer type.
    pub const fn is_int(self) -> bool {
        self.range().is_some()
    }

    /// Whether it is an 8-bit integer, what linears and tables take.
    pub const fn is_byte(self) -> bool {
        matches!(self, Elem::I8 | Elem::U8)
    }
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Per-channel factors: a named `f32` constant with one value per index of `axis`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Channels {
    /// Name of the constant.
    pub name: Arc<str>,
    /// The axis that it runs along.
    pub axis: usize,
}

/// What an integer stands for: `real = q · factor · channels[c]`. Symmetric: zero stands for zero.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Scale {
    /// Per-tensor factor, positive and finite.
    pub factor: F32,
    /// Per-channel factors, if any.
    pub channels: Option<Channels>,
}

impl Scale {
    /// Scale one: the integers are the values. Also the scale of every `f32` type.
    pub const UNIT: Scale = Scale { factor: F32::ONE, channels: None };

    /// A per-tensor scale.
    pub fn tensor(factor: f32) -> Scale {
        Scale { factor: F32::new(factor), channels: None }
    }

    /// A per-channel scale with factor one.
    pub fn channels(name: impl Into<Arc<str>>, axis: usize) -> Scale {
        Scale { factor: F32::ONE, channels: Some(Channels { name: name.into(), axis }) }
    }

    /// The same scale with its channels along another axis.
    pub fn on_axis(&self, axis: usize) -> Scale {
        let channels = self.channels.as_ref().map(|c| Channels { name: c.name.clone(), axis });
        Scale { factor: self.factor, channels }
    }

    /// The same scale with its factor multiplied.
    pub fn times(&self, factor: F32) -> Scale {
        Scale { factor: F32::new(self.factor.get() * factor.get()), channels: self.channels.clone() }
    }
}

/// Shape, element type and, for integers, scale.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Type {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Element type.
    pub elem: Elem,
    /// What the integers stand for; [`Scale::UNIT`] for `f32`.
    pub scale: Scale,
}

impl Type {
    /// An `f32` tensor.
    pub fn f32(shape: impl Into<Vec<usize>>) -> Type {
        Type { shape: shape.into(), elem: Elem::F32, scale: Scale::UNIT }
    }

    /// An integer tensor.
    pub fn int(elem: Elem, scale: Scale, shape: impl Into<Vec<usize>>) -> Type {
        Type { shape: shape.into(), elem, scale }
    }

    /// The same element type and scale with another shape.
    pub fn with_shape(&self, shape: impl Into<Vec<usize>>) -> Type {
        Type { shape: shape.into(), ..self.clone() }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.elements() * self.elem.bytes()
    }

    /// Extent of the last axis; 1 for a scalar.
    pub fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Elements over the extent of the last axis.
    pub fn rows(&self) -> usize {
        self.shape[..self.rank().saturating_sub(1)].iter().product()
    }

    /// Whether the elements are floats.
    pub fn is_float(&self) -> bool {
        self.elem == Elem::F32
    }
}

impl fmt::Display for Type {
    /// `f32[1,96]`, `i8<0.02>[1,96]`, `i32<0.02*@w.scale:1>[1,96]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.elem)?;
        match (&self.scale.channels, self.scale.factor) {
            (None, F32::ONE) => {}
            (None, factor) => write!(f, "<{factor}>")?,
            (Some(c), F32::ONE) => write!(f, "<@{}:{}>", c.name, c.axis)?,
            (Some(c), factor) => write!(f, "<{factor}*@{}:{}>", c.name, c.axis)?,
        }
        f.write_str("[")?;
        for (i, extent) in self.shape.iter().enumerate() {
            write!(f, "{}{extent}", if i > 0 { "," } else { "" })?;
        }
        f.write_str("]")
    }
}
