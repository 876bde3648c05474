//! Projects and the keys to them. A key's holder has its text; kept is a hash of its secret, so that who reads the
//! database gets no key.

use kindling_spec::{ErrorCode, KeyId, ProjectId, Scope};
use kindling_store::{KeyRecord, ProjectRecord, Quota, StoreError, Usage};
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{EngineError, Service, clock::now_ms};

/// What every key's text begins with, so that one that was published by mistake is found.
const PREFIX: &str = "kdl_";
/// Bytes of a key's secret: too many to guess, so that one round of SHA-256 is enough of a hash.
const SECRET_BYTES: usize = 32;

/// What a key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// A name for people.
    pub name: String,
    /// The project it is of.
    pub project: ProjectId,
    /// What it may do.
    pub scope: Scope,
    /// From when on it is not valid, in Unix milliseconds.
    pub expires_at: Option<i64>,
}

/// A key's text in its two parts.
struct KeyText<'a> {
    id: KeyId,
    secret: &'a str,
}

impl<'a> KeyText<'a> {
    /// `None` where it is not of the form of a key.
    fn read(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let digits = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let whole = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(digits);
        let id = format!("{}_{id}", KeyId::PREFIX).parse().ok()?;
        whole.then_some(Self { id, secret })
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// Whether a key may be used now.
pub fn is_valid(key: &KeyRecord) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|end| now_ms() < end)
}

impl Service {
    /// Makes a key. Its text is told this once and not kept.
    ///
    /// # Errors
    /// The name is not 1 to 200 characters, there is no such project, or the store failed.
    pub async fn create_key(&self, new: NewKey) -> Result<(KeyRecord, String), EngineError> {
        let mut bytes = [0; SECRET_BYTES];
        SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
            EngineError::refused(ErrorCode::Internal, format!("the system gives no random numbers: {error}"))
        })?;
        let secret = hex(&bytes);
        let record = KeyRecord {
            id: KeyId::new(),
            name: Self::dataset_name(&new.name)?,
            project: new.project,
            scope: new.scope,
            hash: hash(&secret),
            created_at: now_ms(),
            expires_at: new.expires_at,
            revoked_at: None,
        };
        self.store().meta.create_key(&record).await?;
        let digits = record.id.as_str().split_once('_').map_or("", |(_, digits)| digits);
        let text = format!("{PREFIX}{digits}_{secret}");
        Ok((record, text))
    }

    /// The key of this text; `None` where there is none, or it has expired or was revoked.
    ///
    /// # Errors
    /// The store failed.
    pub async fn authenticate(&self, text: &str) -> Result<Option<KeyRecord>, EngineError> {
        let Some(KeyText { id, secret }) = KeyText::read(text) else { return Ok(None) };
        let key = match self.store().meta.key(&id).await {
            Ok(key) => key,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let same: bool = key.hash.as_bytes().ct_eq(hash(secret).as_bytes()).into();
        Ok((same && is_valid(&key)).then_some(key))
    }

    /// Whether a key may still be used.
    ///
    /// # Errors
    /// The store failed.
    pub async fn is_key_valid(&self, id: &KeyId) -> Result<bool, EngineError> {
        match self.store().meta.key(id).await {
            Ok(key) => Ok(is_valid(&key)),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a key was ever made: from then on one is wanted, also when all have expired or were revoked, so that a
    /// door does not open by itself.
    ///
    /// # Errors
    /// The store failed.
    pub async fn has_keys(&self) -> Result<bool, EngineError> {
        Ok(!self.store().meta.keys(None).await?.is_empty())
    }

    /// Makes a project.
    ///
    /// # Errors
    /// The name is not 1 to 200 characters or is taken, or the store failed.
    pub async fn create_project(&self, name: &str, quota: Quota) -> Result<ProjectRecord, EngineError> {
        let record =
            ProjectRecord { id: ProjectId::new(), name: Self::dataset_name(name)?, quota, created_at: now_ms() };
        match self.store().meta.create_project(&record).await {
            Ok(()) => Ok(record),
            Err(StoreError::Exists { .. }) => {
                let detail = format!("there is a project `{}` already; choose another name", record.name);
                Err(EngineError::refused(ErrorCode::InvalidRequest, detail))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The project of this name or id.
    ///
    /// # Errors
    /// There is none, or the store failed.
    pub async fn find_project(&self, name: &str) -> Result<ProjectRecord, EngineError> {
        let all = self.store().meta.projects().await?;
        let known = all.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join("`, `");
        all.into_iter().find(|p| p.name == name || p.id.as_str() == name).ok_or_else(|| {
            EngineError::refused(ErrorCode::NotFound, format!("there is no project `{name}`; there are `{known}`"))
        })
    }

    /// Every project with what it uses now, oldest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn projects(&self) -> Result<Vec<(ProjectRecord, Usage)>, EngineError> {
        let mut found = Vec::new();
        for project in self.store().meta.projects().await? {
            let usage = self.store().meta.usage(&project.id, now_ms()).await?;
            found.push((project, usage));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_key_is_looked_up() {
        let (id, secret) = ("0".repeat(32), "a".repeat(64));
        let read = KeyText::read(&format!("kdl_{id}_{secret}")).map(|key| (key.id.to_string(), key.secret.to_owned()));
        assert_eq!(read, Some((format!("key_{id}"), secret.clone())));
        for bad in [
            format!("kdl_{id}_{}", "a".repeat(63)),
            format!("kdl_{id}_{}", "A".repeat(64)),
            format!("kdl_{id}{secret}"),
            format!("kdl_key_{id}_{secret}"),
            format!("key_{id}_{secret}"),
            "kdl_".to_owned(),
        ] {
            assert!(KeyText::read(&bad).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_key_is_good_until_it_expires_or_is_revoked_and_its_text_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::open(dir.path(), kindling_data::Limits::default()).await.unwrap();
        assert!(!service.has_keys().await.unwrap());
        let new =
            |expires_at| NewKey { name: "laptop".into(), project: ProjectId::local(), scope: Scope::Write, expires_at };
        let (record, text) = service.create_key(new(None)).await.unwrap();
        let (other, _) = service.create_key(new(None)).await.unwrap();
        assert_eq!(service.authenticate(&text).await.unwrap().map(|key| key.id), Some(record.id.clone()));
        let secret = text.rsplit('_').next().unwrap();
        assert!(!record.hash.contains(secret) && record.hash != other.hash);
        // Another key's id with this one's secret, and another secret.
        let mixed = text.replace(&record.id.as_str()[4..], &other.id.as_str()[4..]);
        assert!(service.authenticate(&mixed).await.unwrap().is_none());
        let last = if text.ends_with('0') { "1" } else { "0" };
        assert!(service.authenticate(&format!("{}{last}", &text[..text.len() - 1])).await.unwrap().is_none());
        let (_, old) = service.create_key(new(Some(now_ms() - 1))).await.unwrap();
        assert!(service.authenticate(&old).await.unwrap().is_none());
        assert!(service.store().meta.revoke_key(&record.id, now_ms()).await.unwrap());
        assert!(service.authenticate(&text).await.unwrap().is_none());
        assert!(service.has_keys().await.unwrap(), "what was locked stays locked");
        let stranger = NewKey { project: ProjectId::new(), ..new(None) };
        assert!(service.create_key(stranger).await.is_err());
    }
}
