//! Batches, read ahead by threads. Which pictures a batch has, and how they are varied, follows from seed and step alone.

use crate::data::{Augment, Pictures};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};
use swint_ir::random::Rng;

/// A batch of pictures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Which pictures.
    pub indices: Vec<usize>,
    /// Pixels, picture by picture.
    pub pixels: Vec<u8>,
    /// Classes.
    pub labels: Vec<usize>,
    /// Pictures that could not be read; others stand in for them.
    pub skipped: usize,
}

/// How batches are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// What chance follows from.
    pub seed: u64,
    /// Pictures of a batch.
    pub batch: usize,
    /// How they are varied.
    pub augment: Augment,
}

/// Mixes numbers into a seed. (SplitMix64's finaliser, Steele, Lea and Flood, OOPSLA 2014)
fn mixed(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0x9e37_79b9_7f4a_7c15, |state, number| {
        let mut z = (state ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

impl Order {
    /// Steps until every picture has come once; what does not fill a batch is left out.
    pub fn steps_per_epoch(&self, pictures: usize) -> usize {
        (pictures / self.batch).max(1)
    }

    /// The pictures of a step.
    pub fn indices(&self, step: usize, pictures: usize) -> Vec<usize> {
        let steps = self.steps_per_epoch(pictures);
        let (epoch, within) = (step / steps, step % steps);
        let mut all: Vec<usize> = (0..pictures).collect();
        Rng::with_seed(mixed(&[self.seed, epoch as u64])).shuffle(&mut all);
        let start = within * self.batch;
        (start..start + self.batch).map(|i| all[i % pictures]).collect()
    }

    /// The batch of a step.
    ///
    /// # Errors
    /// When no picture can be read.
    pub fn batch(&self, pictures: &Pictures, step: usize) -> Result<Batch, String> {
        let indices = self.indices(step, pictures.len());
        let mut batch = Batch { indices, pixels: Vec::new(), labels: Vec::new(), skipped: 0 };
        for (place, index) in batch.indices.iter_mut().enumerate() {
            let mut rng = Rng::with_seed(mixed(&[self.seed, step as u64, place as u64]));
            // The next that can be read stands in for one that cannot.
            let mut read = |i| pictures.read(i, self.augment, &mut rng).map(|pixels| (i, pixels));
            let mut found = read(*index);
            for next in 1..pictures.len().min(1000) {
                if found.is_ok() {
                    break;
                }
                batch.skipped += 1;
                found = read((*index + next) % pictures.len());
            }
            let (i, pixels) = found?;
            *index = i;
            batch.pixels.extend(pixels);
            batch.labels.push(pictures.labels[i]);
        }
        Ok(batch)
    }
}

/// Batches in order, from threads that work ahead.
pub struct Loader {
    workers: Vec<Receiver<Result<Batch, String>>>,
    next: usize,
}

impl Loader {
    /// Starts threads that make the batches of `steps` one after the other.
    pub fn start(pictures: &Arc<Pictures>, order: Order, steps: std::ops::Range<usize>, threads: usize) -> Loader {
        let threads = threads.max(1);
        let worker = |w: usize| {
            let (send, receive): (SyncSender<Result<Batch, String>>, _) = sync_channel(2);
            let (pictures, steps) = (pictures.clone(), steps.clone());
            thread::spawn(move || {
                for step in steps.skip(w).step_by(threads) {
                    // The other side hangs up when training ends early.
                    if send.send(order.batch(&pictures, step)).is_err() {
                        return;
                    }
                }
            });
            receive
        };
        Loader { workers: (0..threads).map(worker).collect(), next: 0 }
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, String>;

    fn next(&mut self) -> Option<Result<Batch, String>> {
        let worker = self.next % self.workers.len();
        self.next += 1;
        self.workers[worker].recv().ok()
    }
}
