//! An S3 server of a test's own.

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// The bucket there is.
const BUCKET: &str = "kindling";
const KEY: &str = "test-key";
const SECRET: &str = "test-secret";

/// A server with one bucket, whose objects are files of a new directory. It ends with the test's process.
pub struct S3 {
    dir: tempfile::TempDir,
    port: u16,
    faults: Arc<Faults>,
}

/// How it fails.
#[derive(Default)]
struct Faults {
    pause_ms: AtomicU64,
    refuses: AtomicBool,
}

impl S3 {
    /// A running server.
    ///
    /// # Panics
    /// The system refuses.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join(BUCKET)).expect("a directory");
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).expect("it is there"));
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("the system can");
        let port = listener.local_addr().expect("it has one").port();
        let (faults, set) = {
            let faults = Arc::<Faults>::default();
            (faults.clone(), faults)
        };
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
            while let Ok((socket, _)) = listener.accept().await {
                let (service, faults) = (service.clone(), faults.clone());
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let (service, faults) = (service.clone(), faults.clone());
                    async move {
                        if request.method() == hyper::Method::PUT {
                            tokio::time::sleep(Duration::from_millis(faults.pause_ms.load(Ordering::Relaxed))).await;
                        }
                        if faults.refuses.load(Ordering::Relaxed) {
                            let mut refused = hyper::Response::new(s3s::Body::from("away".to_owned()));
                            *refused.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                            return Ok(refused);
                        }
                        service.call(request.map(s3s::Body::from)).await
                    }
                });
                tokio::spawn(async move {
                    // A client that goes away is none of the server's business.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        };
        // A runtime of its own, on a thread that ends with the process: tests may have one themselves, or none.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        std::thread::spawn(move || runtime.block_on(serve));
        Self { dir, port, faults: set }
    }

    /// From now on it waits so long before it takes an object.
    pub fn slow_down(&self, pause: Duration) {
        self.faults.pause_ms.store(pause.as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether it answers 503 to every request from now on.
    pub fn refuse(&self, refuses: bool) {
        self.faults.refuses.store(refuses, Ordering::Relaxed);
    }

    /// The address of files below a prefix.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// What a process must have in its environment to use it.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Where the bucket's objects lie.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join(BUCKET)
    }
}
