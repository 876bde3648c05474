//! How many pixels all threads together decode at the same time.

use std::sync::{Condvar, Mutex, PoisonError};

/// Room for pixels: whoever wants more than is free waits.
pub(crate) struct Room {
    all: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

pub(crate) struct Held<'a>(&'a Room, u64);

impl Room {
    pub(crate) fn new(all: u64) -> Self {
        Self { all, free: Mutex::new(all), freed: Condvar::new() }
    }

    pub(crate) fn take(&self, pixels: u64) -> Held<'_> {
        let wanted = pixels.min(self.all);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < wanted {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= wanted;
        Held(self, wanted)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += self.1;
        self.0.freed.notify_all();
    }
}
