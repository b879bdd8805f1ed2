//! Tensors on the host.

use crate::{
    infer::is_scale,
    types::{Elem, Type},
};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

/// Elements, row-major.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Data {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I16(Vec<i16>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

/// Runs an expression with `$v` bound to the vector inside a [`Data`], whatever its type.
#[macro_export]
macro_rules! with_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            $crate::Data::F32($v) => $body,
            $crate::Data::I32($v) => $body,
            $crate::Data::I16($v) => $body,
            $crate::Data::I8($v) => $body,
            $crate::Data::U8($v) => $body,
        }
    };
}

impl Data {
    /// The element type.
    pub fn elem(&self) -> Elem {
        match self {
            Data::F32(_) => Elem::F32,
            Data::I32(_) => Elem::I32,
            Data::I16(_) => Elem::I16,
            Data::I8(_) => Elem::I8,
            Data::U8(_) => Elem::U8,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        with_data!(self, v => v.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Little-endian bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        with_data!(self, v => v.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Little-endian bytes, without a copy of what are bytes.
    pub fn as_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Data::U8(v) => Cow::Borrowed(v),
            _ => Cow::Owned(self.to_bytes()),
        }
    }

    /// Elements from little-endian bytes; a ragged end is dropped.
    pub fn from_bytes(elem: Elem, bytes: &[u8]) -> Data {
        macro_rules! read {
            ($variant:ident, $ty:ty) => {
                Data::$variant(
                    bytes
                        .chunks_exact(size_of::<$ty>())
                        .map(|b| <$ty>::from_le_bytes(b.try_into().expect("exact chunks")))
                        .collect(),
                )
            };
        }
        match elem {
            Elem::F32 => read!(F32, f32),
            Elem::I32 => read!(I32, i32),
            Elem::I16 => read!(I16, i16),
            Elem::I8 => read!(I8, i8),
            Elem::U8 => read!(U8, u8),
        }
    }

    /// Integers of any width as `i32`; `None` for floats.
    pub fn to_i32(&self) -> Option<Vec<i32>> {
        match self {
            Data::F32(_) => None,
            Data::I32(v) => Some(v.clone()),
            Data::I16(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Data::I8(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Data::U8(v) => Some(v.iter().map(|&x| x.into()).collect()),
        }
    }

    /// Integers of type `elem` from `i32`s that are in its range.
    ///
    /// # Panics
    /// When `elem` is a float type.
    pub fn from_i32(elem: Elem, values: impl Iterator<Item = i32>) -> Data {
        match elem {
            Elem::F32 => panic!("integers do not make f32 data"),
            Elem::I32 => Data::I32(values.collect()),
            Elem::I16 => Data::I16(values.map(|x| x as i16).collect()),
            Elem::I8 => Data::I8(values.map(|x| x as i8).collect()),
            Elem::U8 => Data::U8(values.map(|x| x as u8).collect()),
        }
    }
}

/// A shape and its elements.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Data,
}

impl Tensor {
    /// A tensor.
    ///
    /// # Panics
    /// When the number of elements is not the shape's product.
    pub fn new(shape: impl Into<Vec<usize>>, data: Data) -> Tensor {
        let shape = shape.into();
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?}");
        Tensor { shape, data }
    }

    /// An `f32` tensor.
    pub fn f32(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Tensor {
        Tensor::new(shape, Data::F32(data))
    }

    /// The elements of an `f32` tensor.
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let Data::F32(v) = &self.data { Some(v) } else { None }
    }

    /// Whether shape and element type are those of `ty`.
    pub fn is_of(&self, ty: &Type) -> bool {
        self.shape == ty.shape && self.data.elem() == ty.elem
    }

    /// The real numbers that the elements stand for under `ty`'s scale; channel factors are looked up in `weights`.
    ///
    /// # Panics
    /// When the tensor is not of type `ty`, or `weights` lacks the channel factors (the verifier says so first).
    pub fn to_real(&self, ty: &Type, weights: &Weights) -> Vec<f32> {
        assert!(self.is_of(ty), "a tensor of type {ty}");
        match &self.data {
            Data::F32(v) => v.clone(),
            data => {
                let scales = weights.scales(ty);
                let inner = channel_stride(ty);
                let q = data.to_i32().expect("integers");
                q.iter()
                    .enumerate()
                    .map(|(i, &q)| crate::arith::dequantize(q, scales[i / inner % scales.len()]))
                    .collect()
            }
        }
    }
}

/// Elements between one channel and the next: element `i` has channel `i / stride % channels`.
pub fn channel_stride(ty: &Type) -> usize {
    ty.scale.channels.as_ref().map_or(1, |c| ty.shape[c.axis + 1..].iter().product())
}

/// The constants of a graph, by name. They live beside it, never inside the text.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Weights(pub BTreeMap<Arc<str>, Arc<Tensor>>);

impl Weights {
    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Tensor>> {
        self.0.get(name)
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, tensor: Tensor) {
        self.0.insert(name.into(), Arc::new(tensor));
    }

    /// The scales of a type, one per channel (one in all without channels), each `factor · channels[c]` rounded to f32.
    ///
    /// # Panics
    /// When the channel factors are missing; the verifier says so first.
    pub fn scales(&self, ty: &Type) -> Vec<f32> {
        let factor = ty.scale.factor.get();
        match &ty.scale.channels {
            None => vec![factor],
            Some(c) => {
                let t = self.get(&c.name).unwrap_or_else(|| panic!("no channel scales @{}", c.name));
                t.as_f32().expect("channel scales are f32").iter().map(|s| factor * s).collect()
            }
        }
    }

    /// Whether the channel scales of a type are known and, alone and times its factor, within the bounds of
    /// [`crate::infer::is_scale`].
    pub fn scales_in_bounds(&self, ty: &Type) -> bool {
        let Some(channels) = &ty.scale.channels else { return true };
        let Some(values) = self.get(&channels.name).and_then(|t| t.as_f32()) else { return false };
        values.iter().all(|c| is_scale(*c) && is_scale(ty.scale.factor.get() * c))
    }

    /// The fixed-point factors that requantize values of type `from` to the per-tensor scale `to`, one per channel.
    ///
    /// # Panics
    /// As [`Weights::scales`].
    pub fn multipliers(&self, from: &Type, to: f32) -> Vec<crate::arith::Multiplier> {
        let factors = self.scales(from);
        factors.into_iter().map(|s| crate::arith::Multiplier::new(s as f64 / to as f64)).collect()
    }
}
