//! `kindling keys`: made, listed and revoked beside a running service, or before it is started.

use crate::failure::{Exit, Failure};
use crate::place::PlaceArgs;
use crate::{output, running};
use kindling_engine::{NewKey, Service, is_valid, now_ms};
use kindling_spec::{KeyId, ProjectId, Scope};
use kindling_store::KeyRecord;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// The keys to a service. Once one was made, every request must have one; the service need not be started again.
#[derive(clap::Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it. It is not kept: this is the only time that it can be seen.
    Create(Create),
    /// List the keys, without what opens.
    List(List),
    /// Make a key useless, within seconds and for good.
    Revoke(Revoke),
}

/// What the new key is.
#[derive(clap::Args)]
pub(crate) struct Create {
    /// Whose or what it is for, for people.
    #[arg(long)]
    name: String,
    /// What it may do: `read` looks, `write` also makes, changes and deletes, `admin` also sees the whole service.
    #[arg(long, value_parser = scope, value_name = "read|write|admin")]
    scope: Scope,
    /// The project whose data sets, tasks and models it sees; by default that of what is made without keys.
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// After how long it stops working, such as 30d or 12h; by default never.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "TIME")]
    expires: Option<Duration>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// How it is listed.
#[derive(clap::Args)]
pub(crate) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Which key.
#[derive(clap::Args)]
pub(crate) struct Revoke {
    /// Its id, as listed.
    id: KeyId,
    #[command(flatten)]
    place: PlaceArgs,
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::from_word(text).ok_or_else(|| "it is `read`, `write` or `admin`".to_owned())
}

impl Keys {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let runtime = running::runtime()?;
        match self {
            Self::Create(args) => runtime.block_on(args.run()),
            Self::List(args) => runtime.block_on(args.run()),
            Self::Revoke(args) => runtime.block_on(args.run()),
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let service = self.place.attach().await?;
        let project = match &self.project {
            Some(name) => service.find_project(name).await?,
            None => service.find_project(ProjectId::local().as_str()).await?,
        };
        let lasts = |time: Duration| now_ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        let expires_at = self.expires.map(lasts);
        let new = NewKey { name: self.name, project: project.id, scope: self.scope, expires_at };
        let (record, text) = service.create_key(new).await?;
        if self.json {
            let mut told = about(&record, &project.name);
            told["key"] = json!(text);
            return output::say_json(&told);
        }
        // The key alone goes to standard output, to be taken by a script.
        eprintln!(
            "{} `{}` may {} in the project `{}`. Keep it: it is not shown again.",
            record.id, record.name, record.scope, project.name
        );
        output::say(&text);
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let service = self.place.attach().await?;
        let names = project_names(&service).await?;
        let keys = service.store().meta.keys(None).await.map_err(kindling_engine::EngineError::from)?;
        let of = |key: &KeyRecord| names.get(&key.project).cloned().unwrap_or_default();
        if self.json {
            return output::say_json(&keys.iter().map(|key| about(key, &of(key))).collect::<Vec<_>>());
        }
        let row = |key: &KeyRecord| {
            vec![
                key.id.to_string(),
                key.name.clone(),
                of(key),
                key.scope.to_string(),
                date(key.created_at),
                key.expires_at.map_or_else(|| "never".to_owned(), date),
                state(key).to_owned(),
            ]
        };
        let rows: Vec<_> = keys.iter().map(row).collect();
        output::say(&output::left_table(&["id", "name", "project", "scope", "made", "expires", "state"], &rows));
        Ok(())
    }
}

impl Revoke {
    async fn run(self) -> Result<(), Failure> {
        let service = self.place.attach().await?;
        let meta = &service.store().meta;
        if meta.revoke_key(&self.id, now_ms()).await.map_err(kindling_engine::EngineError::from)? {
            output::say(&format!("{} is revoked; a running service takes it for some seconds more", self.id));
            return Ok(());
        }
        // A key that is not there is said so.
        meta.key(&self.id).await.map_err(kindling_engine::EngineError::from)?;
        Err(Failure::new(Exit::Refused, format!("{} was revoked before", self.id)))
    }
}

async fn project_names(service: &Service) -> Result<BTreeMap<ProjectId, String>, Failure> {
    let projects = service.projects().await?;
    Ok(projects.into_iter().map(|(project, _)| (project.id, project.name)).collect())
}

fn state(key: &KeyRecord) -> &'static str {
    match key.revoked_at {
        Some(_) => "revoked",
        None if is_valid(key) => "good",
        None => "expired",
    }
}

fn about(key: &KeyRecord, project: &str) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "project": project,
        "scope": key.scope,
        "state": state(key),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
    })
}

/// Unix milliseconds as people and RFC 3339 write them.
fn date(unix_ms: i64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(unix_ms).unwrap_or(0));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_without_what_opens() {
        let key = KeyRecord {
            id: KeyId::new(),
            name: "laptop".into(),
            project: ProjectId::local(),
            scope: Scope::Write,
            hash: "0123".into(),
            created_at: 0,
            expires_at: Some(1000),
            revoked_at: None,
        };
        let told = about(&key, "hill");
        assert_eq!(
            (&told["state"], &told["scope"], &told["project"]),
            (&json!("expired"), &json!("write"), &json!("hill"))
        );
        assert!(!told.to_string().contains("0123"));
        assert_eq!(date(1000), "1970-01-01T00:00:01Z");
    }
}
