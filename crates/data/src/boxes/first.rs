//! The first of many by their order, so that a list which is shown in part is never kept whole.

use crate::{Broken, LIST_CAP, Listed, OddBox};

/// What such a list is sorted by.
pub(crate) trait Ordered {
    fn order(&self) -> (&str, &str);
}

impl Ordered for Broken {
    fn order(&self) -> (&str, &str) {
        (&self.path, &self.reason)
    }
}

impl Ordered for OddBox {
    fn order(&self) -> (&str, &str) {
        (&self.path, &self.place)
    }
}

/// At most some [`LIST_CAP`] of what is pushed, and the count of all.
#[derive(Debug, Clone)]
pub(crate) struct First<T> {
    total: usize,
    items: Vec<T>,
}

impl<T> Default for First<T> {
    fn default() -> Self {
        Self { total: 0, items: Vec::new() }
    }
}

impl<T: Ordered> First<T> {
    pub(crate) fn push(&mut self, item: T) {
        self.total += 1;
        self.items.push(item);
        if self.items.len() >= 4 * LIST_CAP {
            self.cut();
        }
    }

    pub(crate) fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    fn cut(&mut self) {
        self.items.sort_by(|a, b| a.order().cmp(&b.order()));
        self.items.truncate(LIST_CAP);
    }

    /// The very first.
    pub(crate) fn first(&self) -> Option<&T> {
        self.items.iter().min_by(|a, b| a.order().cmp(&b.order()))
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Counts what is not shown in any case.
    pub(crate) fn count(&mut self, more: usize) {
        self.total += more;
    }

    /// The first of all and their count.
    pub(crate) fn into_listed(mut self) -> Listed<T> {
        self.cut();
        Listed { total: self.total, items: self.items }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_kept_whatever_the_order_they_come_in() {
        let broken = |i: usize| Broken { path: format!("{:05}", i * 7919 % 10_007), reason: String::new() };
        let mut first = First::default();
        first.extend((0..10_007).map(broken));
        let listed = first.into_listed();
        let expected: Vec<String> = (0..LIST_CAP).map(|i| format!("{i:05}")).collect();
        assert_eq!(listed.items.iter().map(|b| b.path.as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(listed.total, 10_007);
    }
}
