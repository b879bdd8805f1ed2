//! AdamW with warm-up and cosine, gradient clipping, and a moving average of the parameters.

use burn::{
    optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _},
    tensor::{Device, Tensor},
};
use serde::{Deserialize, Serialize};

/// What the optimizer is told.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Largest learning rate.
    pub lr: f64,
    /// Steps over which the learning rate grows to it; at most half of all.
    pub warmup: usize,
    /// Weight decay of matrices; biases, LayerNorms' parameters and position biases have none.
    pub weight_decay: f32,
    /// Largest norm of all gradients together; they are scaled down to it.
    pub clip: f32,
    /// How much of the moving average of the parameters stays at a step; 0 keeps none.
    pub ema: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { lr: 5e-4, warmup: 20, weight_decay: 0.01, clip: 1.0, ema: 0.0 }
    }
}

impl Settings {
    /// The learning rate of a step: linear up to `lr`, then half a cosine, which reaches 0 after the last. (SGDR, arXiv 1608.03983)
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        let warmup = self.warmup.min(steps / 2);
        if step < warmup {
            return self.lr * (step + 1) as f64 / (warmup + 1) as f64;
        }
        let done = (step - warmup) as f64 / (steps - warmup).max(1) as f64;
        self.lr * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }
}

/// What one parameter has gathered.
pub struct Slot {
    /// Its value, flat.
    pub value: Tensor<1>,
    /// The first and second moment of its gradients; `None` before the first.
    pub moments: Option<(Tensor<1>, Tensor<1>)>,
    /// The moving average of its values.
    pub average: Option<Tensor<1>>,
    /// How many gradients it has had.
    pub time: usize,
}

/// Parameters, and what changes them.
pub struct Optimizer {
    settings: Settings,
    /// For parameters with weight decay, and without.
    rules: [AdamW; 2],
    /// The parameters.
    pub slots: Vec<Slot>,
    /// Whether each decays.
    decays: Vec<bool>,
}

impl Optimizer {
    /// Starts from values, flat, and whether each decays.
    pub fn new(settings: Settings, values: Vec<Tensor<1>>, decays: Vec<bool>) -> Optimizer {
        let rule = |decay| AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(decay).build();
        let slot = |value: Tensor<1>| {
            let average = (settings.ema > 0.0).then(|| value.clone());
            Slot { value, moments: None, average, time: 0 }
        };
        let slots = values.into_iter().map(slot).collect();
        Optimizer { settings, rules: [rule(settings.weight_decay), rule(0.0)], slots, decays }
    }

    /// Whether each parameter has weight decay.
    pub fn decays(&self) -> &[bool] {
        &self.decays
    }

    /// The parameters on a device, as leaves that gradients are taken of.
    pub fn leaves(&self, device: &Device) -> Vec<Tensor<1>> {
        let leaf = |slot: &Slot| Tensor::from_inner(slot.value.clone().to_device(device)).require_grad();
        self.slots.iter().map(leaf).collect()
    }

    /// The values to keep: the moving average, if there is one.
    pub fn values(&self) -> Vec<Tensor<1>> {
        self.slots.iter().map(|slot| slot.average.as_ref().unwrap_or(&slot.value).clone()).collect()
    }

    /// Takes a step along gradients, `None` for parameters that the loss does not depend on. Returns the norm of all before clipping;
    /// where that is not finite, nothing has changed.
    pub fn step(&mut self, gradients: Vec<Option<Tensor<1>>>, rate: f64) -> f32 {
        let squares = gradients.iter().flatten().map(|g| sum_of_squares(g.clone()));
        let norm: f32 = squares.reduce(|a, b| a + b).map_or(0.0, |sum| sum.sqrt().into_scalar());
        if !norm.is_finite() {
            return norm;
        }
        let scale = if norm > self.settings.clip { self.settings.clip / norm } else { 1.0 };
        for ((slot, gradient), &decays) in self.slots.iter_mut().zip(gradients).zip(&self.decays) {
            let Some(gradient) = gradient else { continue };
            let gradient = if scale < 1.0 { gradient.mul_scalar(scale) } else { gradient };
            let state = slot
                .moments
                .take()
                .map(|(first, second)| AdamWState::new(AdaptiveMomentumState::new(slot.time, first, second)));
            let rule = &self.rules[usize::from(!decays)];
            let (value, state) = rule.step(rate, slot.value.clone(), gradient, state);
            let momentum = state.expect("AdamW keeps a state").momentum;
            (slot.time, slot.moments, slot.value) =
                (momentum.time, Some((momentum.moment_1, momentum.moment_2)), value);
            if let Some(average) = slot.average.take() {
                let kept = self.settings.ema;
                slot.average = Some(average.mul_scalar(kept) + slot.value.clone().mul_scalar(1.0 - kept));
            }
        }
        norm
    }
}

/// Summed in rows: what sums many millions at once does so in an order that threads decide.
fn sum_of_squares(x: Tensor<1>) -> Tensor<1> {
    let n = x.dims()[0];
    let columns = (1..=n.min(4096)).rev().find(|&columns| n.is_multiple_of(columns)).unwrap_or(1);
    x.powi_scalar(2).reshape([n / columns, columns]).sum_dim(1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{flat, values};

    #[test]
    fn rates_rise_and_fall() {
        let settings = Settings { lr: 1.0, warmup: 4, ..Settings::default() };
        let rates: Vec<f64> = (0..12).map(|step| settings.rate(step, 12)).collect();
        assert_eq!(&rates[..5], [0.2, 0.4, 0.6, 0.8, 1.0]);
        assert!((rates[8] - 0.5).abs() < 1e-12 && rates[11] > 0.0 && rates[11] < 0.05, "{rates:?}");
    }

    /// Two steps against AdamW's equations in plain floats. (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2)
    #[test]
    fn steps_are_adamw() {
        let device = Device::flex();
        let settings = Settings { weight_decay: 0.1, clip: 1e9, ema: 0.5, ..Settings::default() };
        let mut optimizer =
            Optimizer::new(settings, vec![flat(vec![1.0], &device), flat(vec![2.0], &device)], vec![true, false]);
        let (mut x, mut m, mut v, mut ema) = (1f64, 0f64, 0f64, 1f64);
        for (t, g) in [(1, 0.5f64), (2, -0.25)] {
            let gradients = vec![Some(flat(vec![g as f32], &device)), None];
            optimizer.step(gradients, 0.01);
            (m, v) = (0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g);
            let step = (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
            x = x * (1.0 - 0.01 * 0.1) - 0.01 * step;
            ema = 0.5 * ema + 0.5 * x;
        }
        assert!((f64::from(values(optimizer.slots[0].value.clone())[0]) - x).abs() < 1e-6);
        assert!((f64::from(values(optimizer.values()[0].clone())[0]) - ema).abs() < 1e-6);
        assert_eq!(values(optimizer.slots[1].value.clone()), [2.0]);
    }

    #[test]
    fn infinite_gradients_change_nothing() {
        let device = Device::flex();
        let mut optimizer = Optimizer::new(Settings::default(), vec![flat(vec![1.0], &device)], vec![false]);
        assert!(!optimizer.step(vec![Some(flat(vec![1e30], &device))], 0.01).is_finite());
        assert_eq!(values(optimizer.slots[0].value.clone()), [1.0]);
    }

    #[test]
    fn gradients_are_clipped_together() {
        let device = Device::flex();
        let mut optimizer = Optimizer::new(Settings::default(), vec![flat(vec![0.0], &device); 2], vec![false; 2]);
        let norm = optimizer.step(vec![Some(flat(vec![3.0], &device)), Some(flat(vec![4.0], &device))], 0.01);
        assert_eq!(norm, 5.0);
        let moments: Vec<f32> = optimizer.slots.iter().map(|s| values(s.moments.clone().unwrap().0)[0]).collect();
        assert!((moments[0] - 0.06).abs() < 1e-6 && (moments[1] - 0.08).abs() < 1e-6, "{moments:?}");
    }
}
