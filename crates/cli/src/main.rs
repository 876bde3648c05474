//! The `kindling` binary: the service, its workers, and everything a person does from a shell.
//!
//! Thin: it parses, calls the other crates, prints. Knows nothing of SQL, tensors or search. `demo`
//! talks to the service only over HTTP.

// The one exception sets a priority; it says why it may.
#![deny(unsafe_code)]

mod archive;
mod client;
mod commands;
mod failure;
mod fetch;
mod meter;
mod output;
mod place;
mod running;
mod sse;
mod study;
mod telemetry;

use clap::{Parser, Subcommand};
use commands::{
    advise, analyse, audit, backup, bench, demo, devices, doubts, fleet, keys, openapi, predict, projects, push,
    sample, schema, serve, train, verify, worker,
};
use failure::{EXIT_CODES, Failure};
use fetch::Fetch;
use std::process::ExitCode;

/// Give it examples and limits; get small trained neural networks that run anywhere.
#[derive(Parser)]
#[command(name = "kindling", version, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service: HTTP API, page, scheduler and workers.
    Serve(serve::Serve),
    /// Run this machine's workers for services that use the same database and object store.
    Worker(worker::Worker),
    /// Run one analysis; `serve` starts these by itself.
    #[command(hide = true)]
    Analyse(analyse::Analyse),
    /// Make, list and revoke the keys to a service.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make and list the projects of a service, and set what each may use.
    #[command(subcommand)]
    Projects(projects::Projects),
    /// Write everything of a data directory to one archive, while a service uses it.
    Backup(backup::Backup),
    /// Unpack a backup to a new data directory.
    Restore(backup::Restore),
    /// Show the whole way on sample data, or on your own: upload, search, download, predict.
    Demo(demo::Demo),
    /// Write the built-in sample data set.
    Sample(sample::Sample),
    /// Download a public data set by recipe.
    Fetch(Fetch),
    /// Search and train without a service, and write the best model's files.
    Train(train::Train),
    /// Grow a small model for each class without a service, and compare them with one for all.
    Fleet(fleet::Fleet),
    /// Upload a data set in parts, and go on where a broken upload was.
    Push(push::Push),
    /// Ask a model about images.
    Predict(predict::Predict),
    /// Check a downloaded model again: its files, its sizes, its accuracy.
    Verify(verify::Verify),
    /// Say what is in a data set and what is wrong with it.
    Audit(audit::Audit),
    /// List the labels that are probably wrong.
    Doubts(doubts::Doubts),
    /// Say what would make a task's models better.
    Advise(advise::Advise),
    /// List the devices to train on.
    Devices(devices::Devices),
    /// Print the JSON Schema of task specifications.
    Schema(schema::Schema),
    /// Print the OpenAPI document of the service.
    Openapi(openapi::Openapi),
    /// Measure.
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => args.run(),
        Command::Worker(args) => args.run(),
        Command::Analyse(args) => args.run(),
        Command::Keys(command) => command.run(),
        Command::Projects(command) => command.run(),
        Command::Backup(args) => args.run(),
        Command::Restore(args) => args.run(),
        Command::Demo(args) => args.run(),
        Command::Sample(args) => args.run(),
        Command::Fetch(args) => args.run(),
        Command::Train(args) => args.run(),
        Command::Fleet(args) => args.run(),
        Command::Push(args) => args.run(),
        Command::Predict(args) => args.run(),
        Command::Verify(args) => args.run(),
        Command::Audit(args) => args.run(),
        Command::Doubts(args) => args.run(),
        Command::Advise(args) => args.run(),
        Command::Devices(args) => args.run(),
        Command::Schema(args) => args.run(),
        Command::Openapi(args) => args.run(),
        Command::Bench(bench) => bench.run(),
    }
}

/// What is logged unless `KINDLING_LOG` says otherwise.
fn usual_log(command: &Command) -> &'static str {
    match command {
        Command::Serve(_) | Command::Worker(_) | Command::Analyse(_) => {
            "info,tract=warn,wgpu=warn,naga=warn,sqlx=warn,cubecl=warn,opentelemetry=warn"
        }
        _ => "error",
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let _telemetry = telemetry::start(usual_log(&cli.command));
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
