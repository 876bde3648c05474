//! `kindling projects`: who shares a service, and how much of it each may use.

use crate::failure::Failure;
use crate::place::PlaceArgs;
use crate::{output, running};
use kindling_engine::EngineError;
use kindling_store::{ProjectRecord, Quota, Usage};
use serde_json::{Value, json};

/// The projects of a service. A key is of one project and sees nothing of the others.
#[derive(clap::Subcommand)]
pub(crate) enum Projects {
    /// Make a project.
    Create(Create),
    /// List the projects with what they use and may use.
    List(List),
    /// Set what a project may use; what is not named stays as it is.
    Quota(Set),
}

/// The new project.
#[derive(clap::Args)]
pub(crate) struct Create {
    /// Its name.
    name: String,
    #[command(flatten)]
    limits: Limits,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// How they are listed.
#[derive(clap::Args)]
pub(crate) struct List {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Which project.
#[derive(clap::Args)]
pub(crate) struct Set {
    /// Its name or id.
    name: String,
    #[command(flatten)]
    limits: Limits,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What a project may use.
#[derive(clap::Args)]
struct Limits {
    /// Bytes of data sets, drafts, uploads and models, such as 10GB; `none` is no limit.
    #[arg(long, value_parser = bytes, value_name = "N")]
    bytes: Option<Limit>,
    /// Studies queued or running at a time; `none` is no limit.
    #[arg(long, value_parser = count, value_name = "N")]
    running: Option<Limit>,
    /// Seconds of studies in a day (UTC); `none` is no limit.
    #[arg(long, value_parser = count, value_name = "N")]
    seconds_a_day: Option<Limit>,
}

/// A number, or no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit(Option<u64>);

fn count(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        number => number.parse().map(|n| Limit(Some(n))).map_err(|_| "it is a whole number or `none`".to_owned()),
    }
}

/// `10GB`, `1.5 GB`, `512MiB`, `1000`, `none`.
fn bytes(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return Err("it is a number of bytes, such as 10GB or 512MiB, or `none`".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "it begins with a number".to_owned())?;
    Ok(Limit(Some((number * factor) as u64)))
}

impl Limits {
    /// A quota with what is named set.
    fn set(&self, quota: &mut Quota) {
        if let Some(Limit(bytes)) = self.bytes {
            quota.bytes = bytes;
        }
        if let Some(Limit(running)) = self.running {
            quota.running_studies = running.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        }
        if let Some(Limit(seconds)) = self.seconds_a_day {
            quota.seconds_a_day = seconds;
        }
    }
}

impl Projects {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let runtime = running::runtime()?;
        match self {
            Self::Create(args) => runtime.block_on(args.run()),
            Self::List(args) => runtime.block_on(args.run()),
            Self::Quota(args) => runtime.block_on(args.run()),
        }
    }
}

impl Create {
    async fn run(self) -> Result<(), Failure> {
        let service = self.place.attach().await?;
        let mut quota = Quota::default();
        self.limits.set(&mut quota);
        let project = service.create_project(&self.name, quota).await?;
        show(&[(project, Usage::default())], self.json)
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        show(&self.place.attach().await?.projects().await?, self.json)
    }
}

impl Set {
    async fn run(self) -> Result<(), Failure> {
        let service = self.place.attach().await?;
        let mut project = service.find_project(&self.name).await?;
        self.limits.set(&mut project.quota);
        service.store().meta.set_quota(&project.id, &project.quota).await.map_err(EngineError::from)?;
        let all = service.projects().await?;
        show(&all.into_iter().filter(|(p, _)| p.id == project.id).collect::<Vec<_>>(), self.json)
    }
}

fn show(projects: &[(ProjectRecord, Usage)], json: bool) -> Result<(), Failure> {
    if json {
        let about = |(project, usage): &(ProjectRecord, Usage)| -> Value {
            json!({
                "id": project.id,
                "name": project.name,
                "quota": project.quota,
                "usage": usage,
                "created_at": project.created_at,
            })
        };
        return output::say_json(&projects.iter().map(about).collect::<Vec<_>>());
    }
    let of = |used: String, most: Option<String>| most.map_or(used.clone(), |most| format!("{used} of {most}"));
    let row = |(project, usage): &(ProjectRecord, Usage)| {
        let seconds = usage.seconds_today + usage.seconds_granted;
        vec![
            project.id.to_string(),
            project.name.clone(),
            of(output::bytes(usage.bytes), project.quota.bytes.map(output::bytes)),
            of(usage.running_studies.to_string(), project.quota.running_studies.map(|n| n.to_string())),
            of(format!("{seconds:.0}"), project.quota.seconds_a_day.map(|n| n.to_string())),
        ]
    };
    let rows: Vec<_> = projects.iter().map(row).collect();
    output::say(&output::left_table(&["id", "name", "bytes", "open studies", "seconds today"], &rows));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        for (text, expected) in
            [("10GB", 10_000_000_000), ("1.5 MB", 1_500_000), ("512MiB", 536_870_912), ("1000", 1000), ("7b", 7)]
        {
            assert_eq!(bytes(text), Ok(Limit(Some(expected))), "{text}");
        }
        assert_eq!((bytes("none"), count("none"), count("3")), (Ok(Limit(None)), Ok(Limit(None)), Ok(Limit(Some(3)))));
        for bad in ["GB", "10 apples", "-1GB", "1e3"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        assert!(count("-1").is_err() && count("2.5").is_err());
    }

    #[test]
    fn what_is_not_named_stays() {
        let mut quota = Quota { bytes: Some(1), running_studies: Some(2), seconds_a_day: Some(3) };
        Limits { bytes: None, running: Some(Limit(None)), seconds_a_day: Some(Limit(Some(9))) }.set(&mut quota);
        assert_eq!(quota, Quota { bytes: Some(1), running_studies: None, seconds_a_day: Some(9) });
    }
}
