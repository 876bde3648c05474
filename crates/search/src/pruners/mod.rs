//! Which trials go on. One file a pruner, one line in [`PRUNERS`].

mod asha;
mod hyperband;
mod none;

pub use asha::Asha;
pub use hyperband::Hyperband;
pub use none::Never;

use crate::{Ladder, Observation};

/// A trial that has earned its next rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promotion {
    /// The trial's number.
    pub number: u32,
    /// The rung it goes to.
    pub to: u32,
}

/// Chooses who is trained further.
///
/// # Contract
/// - Only a paused trial is promoted, to the rung after its last and not past the ladder's top.
/// - The same history gives the same answer.
/// - Promoting and asking again, without new results, ends: nobody is promoted twice for one result.
pub trait Pruner: Sync + Send {
    /// The name in settings.
    fn name(&self) -> &'static str;

    /// The rung that a new trial is trained to first.
    fn first_rung(&self, _number: u32, _ladder: &Ladder) -> u32 {
        0
    }

    /// The next promotion, or `None` when a new trial should be started instead.
    fn next(&self, history: &[Observation], ladder: &Ladder) -> Option<Promotion>;
}

/// Every pruner.
pub static PRUNERS: &[&dyn Pruner] = &[&Asha, &Hyperband, &Never];

/// The pruner of a name.
pub fn by_name(name: &str) -> Option<&'static dyn Pruner> {
    PRUNERS.iter().copied().find(|p| p.name() == name)
}
