//! What processes cost, where the system tells it as Linux does.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

/// The user and system time that a process has used, all its threads together, to a hundredth of a second.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name, which may hold anything. After it come the third field and so on.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    Some(Duration::from_secs_f64((user + system) as f64 / ticks as f64))
}

/// The CPU time of a process over a while.
#[derive(Debug, Clone, Copy)]
pub struct CpuMeter {
    pid: u32,
    before: Option<Duration>,
}

impl CpuMeter {
    /// Starts to measure.
    pub fn start(pid: u32) -> Self {
        let before = cpu_time(pid);
        Self { pid, before }
    }

    /// Microseconds per call since the start, to a tenth; absent where the system does not tell.
    pub fn us_per_call(self, calls: u64) -> Option<f64> {
        let used = cpu_time(self.pid)?.checked_sub(self.before?)?;
        Some((used.as_secs_f64() * 1e7 / calls.max(1) as f64).round() / 10.0)
    }
}

/// The resident set of this process in KiB.
pub fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// How many sockets this process has open.
pub fn sockets() -> Option<usize> {
    let open = fs::read_dir("/proc/self/fd").ok()?.flatten();
    let targets = open.filter_map(|file| fs::read_link(file.path()).ok());
    Some(
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count(),
    )
}

/// The process that listens on `address`, if that is a loopback address and this user may see the process.
pub fn listener(address: SocketAddr) -> Option<u32> {
    if !address.ip().is_loopback() {
        return None;
    }
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .find(|pid: &u32| holds_any(&Path::new("/proc").join(pid.to_string()), &inodes))
}

/// The sockets of one of the kernel's tables that listen on `port`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let port = format!(":{port:04X}");
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&port) && row[3] == LISTENING)
        .map(|row| row[9].to_owned())
        .collect()
}

fn holds_any(process: &Path, sockets: &[String]) -> bool {
    let Ok(open) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    open.flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// How many tasks wanted a CPU, on average over the last minute.
pub fn load_average() -> Option<f64> {
    let averages = fs::read_to_string("/proc/loadavg").ok()?;
    averages.split_whitespace().next()?.parse().ok()
}
