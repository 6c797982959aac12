//! What this process uses and what it may use: CPU, memory, threads, files. Sampled in the background, so that no request
//! waits for it; [`System::sample`] only copies the latest figures.
//!
//! One task, ended by the token it was started with, takes a sample at once, a second as soon as CPU usage can be told
//! (it is a difference), then one every [`INTERVAL`]. Reading `/proc` blocks, so it happens on tokio's blocking threads.
//! What a platform does not tell stays `None`.

use std::fs;
use std::path::{Component, Path};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

/// Time between samples: fresh enough for people, and far below a thousandth of a core.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The process and the machine it runs on. Shared; see the module's documentation.
#[derive(Debug)]
pub struct System {
    machine: Machine,
    latest: RwLock<Sample>,
}

/// What does not change while the process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// The host's name; in a container usually the container's id.
    pub host_name: Option<String>,
    /// Name and version of the operating system: `Linux (Debian GNU/Linux 13)`.
    pub os: Option<String>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// The processor architecture: `x86_64`.
    pub architecture: &'static str,
    /// CPUs that this process may use, quotas heeded where the platform tells.
    pub cpus: Option<usize>,
    /// This process's id; 1 in most containers.
    pub pid: u32,
}

/// Figures of one moment. `None` is not known (yet, or on this platform).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// CPU usage of this process since the sample before, in percent of one core: more than 100 on several.
    pub cpu_percent: Option<f32>,
    /// Resident memory of this process in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory of the machine in bytes.
    pub machine_memory_bytes: Option<u64>,
    /// The control group's memory limit in bytes (the lowest on its path); `None` without a limit.
    pub memory_limit_bytes: Option<u64>,
    /// Threads of this process.
    pub threads: Option<u64>,
    /// File descriptors (sockets among them) that this process has open.
    pub open_files: Option<u64>,
    /// How many it may have open (soft limit); `None` also without a limit.
    pub open_files_limit: Option<u64>,
}

impl Sample {
    /// The memory this process can have at most, in bytes: the control group's limit, or the machine's memory where that
    /// is less or there is no limit.
    #[must_use]
    pub fn memory_available_bytes(&self) -> Option<u64> {
        self.memory_limit_bytes.into_iter().chain(self.machine_memory_bytes).min()
    }
}

impl System {
    /// Starts to sample, until `shutdown` is cancelled. The first sample is ready a moment later.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(shutdown: CancellationToken) -> Arc<Self> {
        let system = Arc::new(Self::unsampled());
        let sampled = Arc::clone(&system);
        tokio::spawn(async move { shutdown.run_until_cancelled(sampled.keep_sampling()).await });
        system
    }

    /// A system that takes no samples: every figure is unknown.
    #[must_use]
    pub fn unsampled() -> Self {
        Self { machine: Machine::read(), latest: RwLock::default() }
    }

    /// What does not change while the process runs.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The latest figures: at most [`INTERVAL`] old.
    #[must_use]
    pub fn sample(&self) -> Sample {
        // A poisoned lock holds a whole sample all the same: it is replaced in one assignment.
        *self.latest.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep_sampling(&self) {
        let mut sampler = Sampler::default();
        let mut pause = MINIMUM_CPU_UPDATE_INTERVAL;
        loop {
            let reading = spawn_blocking(move || {
                let sample = sampler.sample();
                (sampler, sample)
            });
            let Ok((returned, sample)) = reading.await else {
                tracing::warn!("CPU and memory are no longer sampled: the sampler panicked");
                return;
            };
            sampler = returned;
            *self.latest.write().unwrap_or_else(PoisonError::into_inner) = sample;
            tokio::time::sleep(pause).await;
            pause = INTERVAL;
        }
    }
}

/// How many files (sockets among them) this process may have open: the soft limit. `None` where the platform does not
/// tell, or sets none.
#[must_use]
pub fn open_files_limit() -> Option<usize> {
    open_files(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// The soft limit in `/proc/self/limits`.
fn open_files(limits: &str) -> Option<usize> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok())
}

impl Machine {
    fn read() -> Self {
        Self {
            host_name: sysinfo::System::host_name().ok(),
            os: sysinfo::System::long_os_version().ok(),
            kernel: sysinfo::System::kernel_version().ok(),
            architecture: std::env::consts::ARCH,
            cpus: std::thread::available_parallelism().ok().map(Into::into),
            pid: std::process::id(),
        }
    }
}

/// Takes samples; keeps what the next one is compared with. `None` where sysinfo does not know the platform.
#[derive(Default)]
struct Sampler {
    system: Option<sysinfo::System>,
    /// When the sample before was taken, and the CPU time that the process had used by then, in milliseconds.
    before: Option<(Instant, u64)>,
}

impl Sampler {
    fn sample(&mut self) -> Sample {
        let mut sample = Sample {
            memory_limit_bytes: fs::read_to_string("/proc/self/cgroup")
                .ok()
                .and_then(|groups| memory_limit(&groups, Path::new("/sys/fs/cgroup"))),
            threads: fs::read_to_string("/proc/self/status").ok().and_then(|status| threads(&status)),
            ..Sample::default()
        };
        if self.system.is_none() {
            self.system = sysinfo::System::new().ok();
        }
        let Some(system) = &mut self.system else { return sample };
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        sample.machine_memory_bytes = Some(system.total_memory()).filter(|&bytes| bytes > 0);

        let pid = Pid::from_u32(std::process::id());
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
        if let Some(process) = system.process(pid) {
            let used = (Instant::now(), process.accumulated_cpu_time());
            sample.cpu_percent = self.before.replace(used).and_then(|before| cpu_percent(before, used));
            sample.memory_bytes = Some(process.memory());
            sample.open_files = process.open_files().and_then(|count| u64::try_from(count).ok());
            sample.open_files_limit = process.open_files_limit().and_then(|limit| u64::try_from(limit).ok());
        }
        sample
    }
}

/// CPU time used between two readings (when, milliseconds used by then), in percent of one core.
///
/// Not sysinfo's `cpu_usage()`: that is measured against `/proc/stat`, which some sandboxes make up, and is 0 for a
/// process that has used less than 10 ms so far.
fn cpu_percent(before: (Instant, u64), after: (Instant, u64)) -> Option<f32> {
    let elapsed = after.0.duration_since(before.0);
    let used = Duration::from_millis(after.1.saturating_sub(before.1));
    (!elapsed.is_zero()).then(|| used.div_duration_f32(elapsed) * 100.0)
}

/// The `Threads:` line of `/proc/self/status`.
fn threads(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("Threads:")?.trim().parse().ok())
}

/// The lowest memory limit on the path of this process's control groups, in bytes. `groups` is `/proc/self/cgroup`;
/// `root` is where the control groups are mounted.
///
/// Version 2 has one line, `0::/path`, and `memory.max`; version 1 a line with the memory controller, a folder of its own
/// below `root`, and `memory.limit_in_bytes` (cgroups(7)). A container that sees its host's path, but only its own part
/// of the tree, finds its limit at the root.
fn memory_limit(groups: &str, root: &Path) -> Option<u64> {
    groups.lines().filter_map(|line| group_limit(line, root)).min()
}

fn group_limit(line: &str, root: &Path) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    if hierarchy == "0" && controllers.is_empty() {
        lowest(root, path, "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        lowest(&root.join("memory"), path, "memory.limit_in_bytes")
    } else {
        None
    }
}

/// The lowest limit in `file` of the group `path` below `base` and of the groups around it.
fn lowest(base: &Path, path: &str, file: &str) -> Option<u64> {
    let inner = Path::new(path.trim_start_matches('/'));
    // `/../..` is a group outside of what this process can see.
    let is_outside = inner.components().any(|part| part == Component::ParentDir);
    let group = if is_outside { base.to_owned() } else { base.join(inner) };
    let groups = group.ancestors().take_while(|ancestor| ancestor.starts_with(base));
    groups.filter_map(|group| parse_limit(&fs::read_to_string(group.join(file)).ok()?)).min()
}

/// A limit in bytes. Version 2 writes `max` for none, version 1 the largest number of whole pages, just below 2^63.
fn parse_limit(text: &str) -> Option<u64> {
    const NO_MACHINE_HAS_THAT_MUCH: u64 = 1 << 60;
    text.trim().parse().ok().filter(|&bytes| bytes < NO_MACHINE_HAS_THAT_MUCH)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A made-up `/sys/fs/cgroup`.
    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_lowest_limit_on_the_path_counts() {
        let root = tree(&[
            ("kubepods/memory.max", "536870912\n"),
            ("kubepods/pod1/memory.max", "max\n"),
            ("kubepods/pod1/app/memory.max", "1073741824\n"),
            ("kubepods/pod2/memory.max", "1\n"),
        ]);
        assert_eq!(memory_limit("0::/kubepods/pod1/app\n", root.path()), Some(536_870_912));
    }

    #[test]
    fn a_container_finds_its_limit_at_the_root() {
        let root = tree(&[("memory.max", "268435456\n")]);
        for groups in ["0::/\n", "0::/system.slice/docker-abc.scope\n", "0::/../../other\n"] {
            assert_eq!(memory_limit(groups, root.path()), Some(268_435_456), "{groups}");
        }
    }

    #[test]
    fn version_1_has_a_folder_for_memory_and_a_huge_number_for_no_limit() {
        let groups = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n";
        let limited = tree(&[("memory/docker/abc/memory.limit_in_bytes", "134217728\n")]);
        assert_eq!(memory_limit(groups, limited.path()), Some(134_217_728));
        let unlimited = tree(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")]);
        assert_eq!(memory_limit(groups, unlimited.path()), None);
    }

    #[test]
    fn no_limit_and_no_control_groups_are_none() {
        let root = tree(&[("memory.max", "max\n")]);
        assert_eq!(memory_limit("0::/\n", root.path()), None);
        assert_eq!(memory_limit("0::/\n", Path::new("/nowhere")), None);
        assert_eq!(memory_limit("nonsense", root.path()), None);
    }

    #[test]
    fn the_memory_available_is_the_lesser_of_limit_and_machine() {
        let sample =
            |limit, machine| Sample { memory_limit_bytes: limit, machine_memory_bytes: machine, ..Sample::default() };
        assert_eq!(sample(Some(1), Some(2)).memory_available_bytes(), Some(1));
        assert_eq!(sample(Some(3), Some(2)).memory_available_bytes(), Some(2));
        assert_eq!(sample(None, Some(2)).memory_available_bytes(), Some(2));
        assert_eq!(sample(None, None).memory_available_bytes(), None);
    }

    #[test]
    fn cpu_usage_is_the_share_of_one_core_since_the_sample_before() {
        let start = Instant::now();
        let later = start + Duration::from_secs(5);
        assert_eq!(cpu_percent((start, 100), (later, 1350)), Some(25.0));
        assert_eq!(cpu_percent((start, 0), (later, 10_000)), Some(200.0));
        assert_eq!(cpu_percent((start, 0), (start, 10)), None);
    }

    #[test]
    fn the_soft_limit_on_open_files_counts() {
        let limits = "Max processes             93951                93951                processes \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(open_files("Max open files            unlimited            unlimited            files\n"), None);
        assert_eq!(open_files(""), None);
    }

    #[test]
    fn threads_are_read_from_the_status_file() {
        assert_eq!(threads("Name:\tx\nThreads:\t5\nSigQ:\t0/1\n"), Some(5));
        assert_eq!(threads("Name:\tx\n"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_first_sample_has_all_but_cpu_and_the_second_has_that() {
        let mut sampler = Sampler::default();
        let first = sampler.sample();
        assert_eq!(first.cpu_percent, None);
        assert!(first.memory_bytes > Some(0) && first.machine_memory_bytes > first.memory_bytes, "{first:?}");
        assert!(first.threads > Some(0) && first.open_files > Some(0), "{first:?}");
        assert!(sampler.sample().cpu_percent.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn sampling_ends_with_the_token() {
        let shutdown = CancellationToken::new();
        let system = System::start(shutdown.clone());
        assert_eq!(system.machine().pid, std::process::id());
        shutdown.cancel();
        // The task holds the other reference, and lets go when it ends.
        let ended = async {
            while Arc::strong_count(&system) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(INTERVAL, ended).await.unwrap();
    }
}
