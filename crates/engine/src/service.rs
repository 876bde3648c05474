//! Everything the HTTP API and the command line do, without HTTP.

use kindling_data::{Dataset, Limits};
use kindling_export::OnnxModel;
use kindling_spec::{DatasetId, ModelId, ProjectId, TaskId};
use kindling_store::{Place, Store};
use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::{EngineError, Plan, clock, models::Leaderboard};

/// The service over one [`Place`]. Clones share it.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
    store: Store,
}

struct Inner {
    place: Place,
    limits: Limits,
    datasets: Cache<DatasetId, Dataset>,
    models: Cache<ModelId, OnnxModel>,
    plans: Cache<TaskId, Plan>,
    boards: Cache<TaskId, Leaderboard>,
    /// Held while files are added to a model: one at a time.
    finishing: tokio::sync::Mutex<()>,
    /// Held while a study or files are let in: what a quota allows is counted and taken by one at a time.
    admission: tokio::sync::Mutex<()>,
}

impl Service {
    /// Opens a place (of a path: all in that directory), making it if need be, and sets right what a killed process left.
    ///
    /// # Errors
    /// The directory, the database or the object store cannot be used.
    pub async fn open(place: impl Into<Place>, limits: Limits) -> Result<Self, EngineError> {
        let service = Self::attach(place, limits).await?;
        service.recover().await?;
        Ok(service)
    }

    /// Opens a place beside the process that owns its directory: changes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn attach(place: impl Into<Place>, limits: Limits) -> Result<Self, EngineError> {
        let mut place = place.into();
        let dir = &place.data_dir;
        std::fs::create_dir_all(dir).map_err(EngineError::io(dir))?;
        place.data_dir = dir.canonicalize().map_err(EngineError::io(dir))?;
        let store = Store::connect(&place).await?;
        clock::follow(store.meta.clone()).await?;
        let inner = Inner {
            place,
            limits,
            datasets: Cache::new(16),
            models: Cache::new(32),
            plans: Cache::new(64),
            boards: Cache::new(256),
            finishing: tokio::sync::Mutex::default(),
            admission: tokio::sync::Mutex::default(),
        };
        let service = Self { inner: Arc::new(inner), store };
        let scratch = service.scratch();
        std::fs::create_dir_all(&scratch).map_err(EngineError::io(scratch))?;
        Ok(service)
    }

    /// For who adds files to a model.
    pub(crate) fn finishing(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.finishing
    }

    /// For who lets studies or files in.
    pub(crate) fn admission(&self) -> &tokio::sync::Mutex<()> {
        &self.inner.admission
    }

    /// The same service as one project sees it: nothing of another is there, and what it makes is its own.
    pub fn for_project(&self, project: &ProjectId) -> Self {
        Self { inner: self.inner.clone(), store: self.store.scoped(project) }
    }

    /// The records, the files and the queue.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where everything is kept.
    pub fn place(&self) -> &Place {
        &self.inner.place
    }

    /// The data directory, absolute.
    pub fn data_dir(&self) -> &Path {
        &self.inner.place.data_dir
    }

    /// Whether processes of other machines use the same records and files.
    pub(crate) fn is_shared(&self) -> bool {
        self.inner.place.is_shared()
    }

    /// What is accepted from outside.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Where unfinished work lies; what is found here at the start is left over and removed.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.inner.place.data_dir.join("scratch")
    }

    pub(crate) fn dataset_cache(&self) -> &Cache<DatasetId, Dataset> {
        &self.inner.datasets
    }

    pub(crate) fn model_cache(&self) -> &Cache<ModelId, OnnxModel> {
        &self.inner.models
    }

    pub(crate) fn plan_cache(&self) -> &Cache<TaskId, Plan> {
        &self.inner.plans
    }

    pub(crate) fn board_cache(&self) -> &Cache<TaskId, Leaderboard> {
        &self.inner.boards
    }
}

/// Uses so far, and each thing with the count at its last use.
type Entries<K, V> = (u64, HashMap<K, (u64, Arc<V>)>);

/// A few opened things, the least lately used dropped first.
pub(crate) struct Cache<K, V> {
    room: usize,
    entries: Mutex<Entries<K, V>>,
}

impl<K: Eq + Hash + Clone, V> Cache<K, V> {
    fn new(room: usize) -> Self {
        Self { room, entries: Mutex::new((0, HashMap::new())) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries<K, V>> {
        // A panic while the lock is held leaves a sound map.
        self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut guard = self.lock();
        guard.0 += 1;
        let now = guard.0;
        guard.1.get_mut(key).map(|entry| {
            entry.0 = now;
            entry.1.clone()
        })
    }

    pub(crate) fn put(&self, key: &K, value: Arc<V>) {
        let mut guard = self.lock();
        guard.0 += 1;
        let now = guard.0;
        guard.1.insert(key.clone(), (now, value));
        if guard.1.len() > self.room
            && let Some(oldest) = guard.1.iter().min_by_key(|(_, (used, _))| *used).map(|(k, _)| k.clone())
        {
            guard.1.remove(&oldest);
        }
    }

    /// Drops what is not as it was any more.
    pub(crate) fn forget(&self, key: &K) {
        self.lock().1.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_lately_used_is_dropped_first() {
        let cache = Cache::new(2);
        cache.put(&1, Arc::new("one"));
        cache.put(&2, Arc::new("two"));
        assert!(cache.get(&1).is_some());
        cache.put(&3, Arc::new("three"));
        assert!(cache.get(&2).is_none());
        assert!(cache.get(&1).is_some() && cache.get(&3).is_some());
        cache.forget(&1);
        assert!(cache.get(&1).is_none());
    }
}
