//! Losses of a distillation.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// How much each loss counts.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Kullback–Leibler divergence of the student's logits from the teacher's.
    pub kl: f32,
    /// Cross-entropy with the labels.
    pub ce: f32,
    /// Mean square of the difference of what blocks return.
    pub mse: f32,
    /// Temperature of the logits in the divergence.
    pub temperature: f32,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights { kl: 1.0, ce: 0.0, mse: 0.0, temperature: 2.0 }
    }
}

/// `τ² / B · Σ p·(log p − log q)`, p and q the softmax of teacher's and student's logits `[B, classes]` over τ. The factor keeps gradients
/// as large whatever τ is. (Hinton, Vinyals and Dean, arXiv 1503.02531, section 2)
pub fn divergence(student: Tensor<2>, teacher: Tensor<2>, temperature: f32) -> Tensor<1> {
    let batch = student.dims()[0] as f32;
    let log_p = activation::log_softmax(teacher.div_scalar(temperature), 1);
    let log_q = activation::log_softmax(student.div_scalar(temperature), 1);
    (log_p.clone().exp() * (log_p - log_q)).sum().mul_scalar(temperature * temperature / batch)
}

/// `−1/B · Σ log q[label]`; `labels` are rows of one 1 each, `[B, classes]`.
pub fn cross_entropy(student: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
    let batch = student.dims()[0] as f32;
    (activation::log_softmax(student, 1) * labels).sum().div_scalar(-batch)
}

/// The mean square of the difference of two tensors, over pairs of such.
pub fn mean_square(student: Vec<Tensor<2>>, teacher: Vec<Tensor<2>>) -> Option<Tensor<1>> {
    let n = student.len() as f32;
    let squares = student.into_iter().zip(teacher).map(|(a, b)| (a - b).powi_scalar(2).mean_dim(1).mean());
    squares.reduce(|sum, square| sum + square).map(|sum| sum.div_scalar(n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn rows(values: [[f32; 3]; 2]) -> Tensor<2> {
        Tensor::from_data(values, &Device::flex())
    }

    fn value(loss: Tensor<1>) -> f32 {
        loss.into_scalar()
    }

    /// Against their definitions in plain floats.
    #[test]
    fn losses_are_those_of_their_definitions() {
        let (s, t) = (rows([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]]), rows([[2.0, 1.0, 0.0], [0.0, -1.0, 4.0]]));
        let softmax = |row: [f32; 3], tau: f32| {
            let exps = row.map(|x| (x / tau).exp());
            exps.map(|e| e / exps.iter().sum::<f32>())
        };
        let kl = |t: [f32; 3], s: [f32; 3]| {
            let (p, q) = (softmax(t, 2.0), softmax(s, 2.0));
            (0..3).map(|i| p[i] * (p[i] / q[i]).ln()).sum::<f32>() * 4.0
        };
        let wanted = (kl([2.0, 1.0, 0.0], [1.0, 2.0, -1.0]) + kl([0.0, -1.0, 4.0], [0.5, 0.0, 3.0])) / 2.0;
        assert!((value(divergence(s.clone(), t.clone(), 2.0)) - wanted).abs() < 1e-6);
        assert!(value(divergence(t.clone(), t.clone(), 2.0)).abs() < 1e-6);
        let labels = rows([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        let wanted = -(softmax([1.0, 2.0, -1.0], 1.0)[1].ln() + softmax([0.5, 0.0, 3.0], 1.0)[2].ln()) / 2.0;
        assert!((value(cross_entropy(s.clone(), labels)) - wanted).abs() < 1e-6);
        let mse = value(mean_square(vec![s.clone()], vec![t.clone()]).unwrap());
        assert!((mse - (1.0 + 1.0 + 1.0 + 0.25 + 1.0 + 1.0) / 6.0).abs() < 1e-6);
    }
}
