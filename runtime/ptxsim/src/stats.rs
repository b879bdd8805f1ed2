//! Counts of what a kernel did. They are counts, not times.

use crate::program::{Class, Kernel};
use std::collections::BTreeMap;

/// What one instruction did in a launch.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Count {
    /// Times that a warp executed it.
    pub warps: u64,
    /// Times that a thread executed it.
    pub threads: u64,
    /// Sectors of 32 bytes of global memory that it touched, each once an execution.
    pub sectors: u64,
    /// Bytes of global memory that it touched, each once an execution.
    pub bytes: u64,
    /// Passes over shared memory beyond the one that none can do without.
    pub conflicts: u64,
}

/// Counts of a launch, or of several.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Instructions that threads executed, by class.
    pub threads: BTreeMap<Class, u64>,
    /// Instructions that warps executed, by class.
    pub warps: BTreeMap<Class, u64>,
    /// Matrix multiplications that warps executed.
    pub mma: u64,
    /// Sectors of 32 bytes of global memory that loads touched, each counted once for each warp's instruction.
    /// Asynchronous copies are loads here, and an atomic is both a load and a store.
    pub loaded_sectors: u64,
    /// Bytes of global memory that loads touched, each counted once for each warp's instruction.
    pub loaded_bytes: u64,
    /// As for loads.
    pub stored_sectors: u64,
    /// As for loads.
    pub stored_bytes: u64,
    /// Different sectors of 32 bytes of global memory that loads touched, each counted once for each launch.
    pub distinct_loaded_sectors: u64,
    /// As for loads.
    pub distinct_stored_sectors: u64,
    /// Passes over shared memory beyond the one that each access needs: bank conflicts.
    pub conflicts: u64,
    /// Those of loads among them.
    pub load_conflicts: u64,
}

impl Stats {
    /// Of a launch; `distinct` are the different sectors that it loaded, and stored.
    pub(crate) fn of(kernel: &Kernel, counts: &[Count], distinct: (u64, u64)) -> Stats {
        let (distinct_loaded_sectors, distinct_stored_sectors) = distinct;
        let mut stats = Stats { distinct_loaded_sectors, distinct_stored_sectors, ..Stats::default() };
        for (inst, count) in kernel.insts.iter().zip(counts) {
            *stats.threads.entry(inst.class).or_default() += count.threads;
            *stats.warps.entry(inst.class).or_default() += count.warps;
            if inst.class == Class::Mma {
                stats.mma += count.warps;
            }
            if inst.class.loads() {
                stats.loaded_sectors += count.sectors;
                stats.loaded_bytes += count.bytes;
            }
            if inst.class.stores() {
                stats.stored_sectors += count.sectors;
                stats.stored_bytes += count.bytes;
            }
            stats.conflicts += count.conflicts;
            if inst.class == Class::SharedLoad {
                stats.load_conflicts += count.conflicts;
            }
        }
        stats.threads.retain(|_, n| *n > 0);
        stats.warps.retain(|_, n| *n > 0);
        stats
    }

    /// Adds the counts of another launch.
    pub fn add(&mut self, other: &Stats) {
        for (all, more) in [(&mut self.threads, &other.threads), (&mut self.warps, &other.warps)] {
            more.iter().for_each(|(class, n)| *all.entry(*class).or_default() += n);
        }
        self.mma += other.mma;
        self.loaded_sectors += other.loaded_sectors;
        self.loaded_bytes += other.loaded_bytes;
        self.stored_sectors += other.stored_sectors;
        self.stored_bytes += other.stored_bytes;
        self.distinct_loaded_sectors += other.distinct_loaded_sectors;
        self.distinct_stored_sectors += other.distinct_stored_sectors;
        self.conflicts += other.conflicts;
        self.load_conflicts += other.load_conflicts;
    }

    /// Instructions that threads executed.
    pub fn instructions(&self) -> u64 {
        self.threads.values().sum()
    }

    /// Of the bytes of the touched sectors, which share was asked for: 1 where every byte that moves is wanted. `None` without global accesses.
    pub fn coalescing(&self) -> Option<f64> {
        let sectors = self.loaded_sectors + self.stored_sectors;
        (sectors > 0).then(|| (self.loaded_bytes + self.stored_bytes) as f64 / (32 * sectors) as f64)
    }
}
