//! Metrics for Prometheus to fetch.

use std::{convert::Infallible, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

/// From below a call over the loopback interface to the default timeout of calls.
const SECONDS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];
/// Prometheus makes one connection at a time.
const MOST_CONNECTIONS: usize = 16;
/// Longer than Prometheus waits (10 s).
const LONGEST_CONNECTION: Duration = Duration::from_secs(15);
/// How often samples that were not fetched are made into buckets, so that they do not pile up.
const UPKEEP: Duration = Duration::from_secs(5);

/// The program's metrics at `http://<address>/metrics`, for Prometheus to fetch.
///
/// Dropped, it listens no more; the metrics go on being recorded.
///
/// ```no_run
/// # async fn example() -> Result<(), almanet::telemetry::PrometheusError> {
/// use almanet::telemetry::Prometheus;
///
/// // Before sessions and services, which look their metrics up once.
/// let prometheus = Prometheus::serve("127.0.0.1:9464").await?;
/// println!("metrics at http://{}/metrics", prometheus.address());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the metrics can be fetched for as long as this lives"]
pub struct Prometheus {
    address: SocketAddr,
    handle: PrometheusHandle,
    _serving: AbortOnDropHandle<()>,
}

/// Why metrics cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrometheusError {
    /// Something else listens there, or the address is not this machine's.
    #[error("cannot listen on {address} for Prometheus")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The program has a recorder of metrics already.
    #[error("the program has a recorder of metrics already: use its own endpoint, or install only this one")]
    RecorderInstalled,
    /// The exporter does not take its settings.
    #[error("the exporter cannot be made")]
    Exporter(#[source] BuildError),
}

impl Prometheus {
    /// Installs the program's recorder of metrics, and lets them be fetched at `address` (`host:port`; port 0 is a free
    /// one).
    ///
    /// # Errors
    ///
    /// [`PrometheusError`] when nothing can listen there, or the program has another recorder.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it leaves nothing behind.
    pub async fn serve(address: impl AsRef<str>) -> Result<Self, PrometheusError> {
        let address = address.as_ref();
        let failed = |source| PrometheusError::Listen {
            address: address.to_owned(),
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .map_err(PrometheusError::Exporter)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| PrometheusError::RecorderInstalled)?;
        let serving = tokio::spawn(serve(listener, handle.clone()));
        Ok(Self {
            address,
            handle,
            _serving: AbortOnDropHandle::new(serving),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What Prometheus would get now, in its text format.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

async fn serve(listener: TcpListener, handle: PrometheusHandle) {
    let mut connections = JoinSet::new();
    let mut upkeep = interval(UPKEEP);
    loop {
        tokio::select! {
            _ = upkeep.tick() => handle.run_upkeep(),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(timeout(LONGEST_CONNECTION, answer(stream, handle.clone())));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take a connection of Prometheus");
                    // Most often there are too many open files, and looking again at once would not help.
                    sleep(Duration::from_millis(100)).await;
                }
            },
        }
    }
}

async fn answer(stream: TcpStream, handle: PrometheusHandle) {
    let respond = service_fn(move |request: hyper::Request<_>| {
        let response = respond(request.method(), request.uri().path(), &handle);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), respond);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection of Prometheus broke");
    }
}

fn respond(method: &Method, path: &str, handle: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, text) = match (method, path) {
        (&Method::GET, "/metrics") => (StatusCode::OK, handle.render()),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "the metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}
