//! Files.

use futures::TryStreamExt;
use kindling_spec::{ErrorCode, TaskId};
use std::path::{Path, PathBuf};

use super::Checked;
use crate::{FileInfo, Files, StoreError};

/// A directory of this process's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, StoreError> {
        let path = std::env::temp_dir().join(TaskId::new().to_string());
        std::fs::create_dir(&path).map_err(StoreError::io(&path))?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(StoreError::io(parent))?;
        }
        std::fs::write(&path, bytes).map_err(StoreError::io(&path))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing depends on it, and there may be nothing left after a move.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) async fn keys(files: &Files) -> Checked {
    let long = "a".repeat(129);
    let deep = "abcdefgh/".repeat(200) + "a";
    let bad = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../../b",
        "./a",
        "a\\b",
        "a b",
        "ä",
        "a\0",
        "a#1",
        "%2e%2e/a",
        &long,
        &deep,
    ];
    for key in bad {
        let code = files.put_bytes(key, "x").await.map_err(|error| error.code());
        assert_eq!(code, Err(ErrorCode::FileNotFound), "{key:?}");
        assert!(matches!(files.get(key).await, Err(StoreError::InvalidKey { .. })), "{key:?}");
        assert!(files.local_path(key).is_err(), "{key:?}");
        assert!(files.delete_prefix(key).await.is_err(), "{key:?}");
    }
    Ok(())
}

pub(super) async fn content(files: &Files) -> Checked {
    let at = TaskId::new().to_string();
    let key = format!("{at}/deep/a.bin");
    assert!(!files.exists(&key).await?);
    assert_eq!(files.get(&key).await.map_err(|error| error.code()), Err(ErrorCode::FileNotFound));
    files.put_bytes(&key, "first").await?;
    files.put_bytes(&key, "0123456789").await?;
    assert_eq!(files.get(&key).await?, "0123456789");
    assert_eq!(files.size(&key).await?, 10);
    assert_eq!(files.get_range(&key, 2..5).await?, "234");
    let part = files.open(&key, Some(4..7)).await?;
    assert_eq!((part.bytes, part.range.clone()), (10, 4..7));
    let read: Vec<_> = part.stream.try_collect().await?;
    assert_eq!(read.concat(), b"456");
    assert!(files.get_range(&key, 10..12).await.is_err());
    files.put_bytes(&format!("{at}/empty"), "").await?;
    assert_eq!(files.get(&format!("{at}/empty")).await?, "");

    // Larger than any one piece of a copy.
    let scratch = Scratch::new()?;
    let large: Vec<u8> = (0..11_000_000_u32).map(|n| (n % 251) as u8).collect();
    let from = scratch.write("large", &large)?;
    let to = format!("{at}/large.bin");
    assert_eq!(files.put_file(&to, &from).await?, large.len() as u64);
    assert!(files.get(&to).await? == large);
    assert!(files.put_file(&format!("{at}/none"), Path::new("/nonexistent/none")).await.is_err());
    assert!(!files.exists(&format!("{at}/none")).await?);
    if let Some(path) = files.local_path(&to)? {
        assert!(std::fs::read(&path).map_err(StoreError::io(&path))? == large);
    }
    files.delete(&to).await?;
    files.delete(&to).await?;
    assert!(!files.exists(&to).await?);
    assert_eq!(files.delete_prefix(&at).await?, 2);
    assert!(files.list(&at).await?.is_empty());
    Ok(())
}

pub(super) async fn directories(files: &Files) -> Checked {
    let at = TaskId::new().to_string();
    let scratch = Scratch::new()?;
    scratch.write("b.txt", b"bb")?;
    scratch.write("sub/a.txt", b"a")?;
    let listed = |prefix: &str| {
        vec![
            FileInfo { key: format!("{prefix}/b.txt"), bytes: 2 },
            FileInfo { key: format!("{prefix}/sub/a.txt"), bytes: 1 },
        ]
    };
    let (copied, moved) = (format!("{at}/copied"), format!("{at}/moved"));
    assert_eq!(files.put_dir(&copied, &scratch.0).await?, 2);
    assert_eq!(files.list(&copied).await?, listed(&copied));
    files.put_bytes(&format!("{at}/copied2/x"), "x").await?;
    assert_eq!(files.list(&copied).await?.len(), 2, "names are whole");
    let taken = files.move_dir(&copied, &scratch.0).await;
    assert!(matches!(taken, Err(StoreError::Exists { .. })));
    assert_eq!(files.move_dir(&moved, &scratch.0).await?, 2);
    assert_eq!(files.list(&moved).await?, listed(&moved));
    assert_eq!(files.get(&format!("{moved}/sub/a.txt")).await?, "a");
    assert!(!scratch.0.exists());

    let odd = Scratch::new()?;
    odd.write("fine", b"1")?;
    odd.write("not fine", b"1")?;
    assert!(matches!(files.put_dir(&format!("{at}/odd"), &odd.0).await, Err(StoreError::InvalidKey { .. })));
    assert!(files.list(&format!("{at}/odd")).await?.is_empty(), "nothing is written when one name is refused");
    assert_eq!(files.delete_prefix(&copied).await?, 2);
    assert_eq!(files.list(&at).await?.len(), 3);
    assert_eq!(files.delete_prefix(&at).await?, 3);
    Ok(())
}
