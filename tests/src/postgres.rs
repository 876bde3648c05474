//! A PostgreSQL server of a test's own.

use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server over a new directory. It ends, and its data with it, when this is dropped.
pub struct Postgres {
    programs: PathBuf,
    dir: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Postgres {
    /// A running server, or `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    /// It is installed and cannot be started; or it is not, and `KINDLING_TEST_POSTGRES=1` demands it.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var("KINDLING_TEST_POSTGRES").as_deref() != Ok("1"),
                "KINDLING_TEST_POSTGRES=1, but PostgreSQL is not installed"
            );
            println!("skipped: PostgreSQL is not installed; KINDLING_TEST_POSTGRES=1 demands it");
            return None;
        };
        // Somewhere that the server's user can enter, with a short path for its socket.
        let dir = tempfile::Builder::new().prefix("kindling-pg").tempdir_in("/tmp").expect("a directory");
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
        let data = dir.path().join("data");
        std::fs::DirBuilder::new().mode(0o700).create(&data).expect("a directory");
        if let Some((user, group)) = user() {
            chown(&data, Some(user), Some(group)).expect("root may");
        }
        let made = as_user(programs.join("initdb"))
            .args(["--username=kindling", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let mut server = Self { programs, dir, port, process: None };
        server.restart();
        Some(server)
    }

    /// The address of a database in it that is there from the start.
    pub fn url(&self) -> String {
        format!("postgres://kindling@127.0.0.1:{}/postgres", self.port)
    }

    /// Makes a new database; returns its address.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn database(&self, name: &str) -> String {
        let made = as_user(self.programs.join("createdb"))
            .args(["--host=127.0.0.1", "--username=kindling", &format!("--port={}", self.port), name])
            .status()
            .expect("createdb runs");
        assert!(made.success(), "createdb failed");
        format!("postgres://kindling@127.0.0.1:{}/{name}", self.port)
    }

    /// Ends the server at once, as losing its machine does; the data stays.
    ///
    /// # Panics
    /// The system refuses.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.wait().expect("it ends");
        }
    }

    /// Starts the server again on the same port and data, and waits until it answers.
    ///
    /// # Panics
    /// It does not within half a minute.
    pub fn restart(&mut self) {
        let data = self.dir.path().join("data");
        let settings = ["fsync=off", "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"];
        // Ends it without a farewell when our end of its input closes, also when this process was killed.
        let mut command = as_user("/bin/sh");
        command.args(["-c", r#"exec 3<&0; "$0" "$@" </dev/null & cat <&3 >/dev/null; kill -QUIT $!; wait $!"#]);
        command.arg(self.programs.join("postgres")).arg("-D").arg(&data).args(["-p", &self.port.to_string()]);
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.process = Some(process.expect("postgres runs"));
        let started = Instant::now();
        loop {
            let ready = Command::new(self.programs.join("pg_isready"))
                .args(["--quiet", "--host=127.0.0.1", &format!("--port={}", self.port)])
                .status()
                .expect("pg_isready runs");
            if ready.success() {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where the newest installed PostgreSQL has its programs.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    found.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    found.sort();
    found.into_iter().rev().find(|dir| ["initdb", "postgres", "pg_isready"].iter().all(|p| dir.join(p).is_file()))
}

/// The user and group to run as where this is root, as which PostgreSQL does not run.
fn user() -> Option<(u32, u32)> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|of| std::os::unix::fs::MetadataExt::uid(&of) == 0);
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = users.lines().find(|line| line.starts_with("postgres:")).filter(|_| root)?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn as_user(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    if let Some((user, group)) = user() {
        command.uid(user).gid(group).current_dir("/");
    }
    command
}
