//! Flags of `coracle run` and `create` that complete Docker's: what is attached, what is taken from others, and what is
//! refused, with the reason.

use std::net::IpAddr;
use std::path::PathBuf;

use coracle_container::VolumesFrom;
use coracle_engine::{Failure, Result};
use coracle_oci::Platform;
use coracle_report::Diagnostic;

use super::flag_error::{bad_flag, each_of};
use crate::command_line::truth;
use crate::values;

/// A stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamName {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The flags.
#[derive(Debug, Default, clap::Args)]
pub struct FurtherArgs {
    /// Attach only this stream: stdin, stdout or stderr.
    #[arg(short, long, value_name = "STREAM", value_parser = stream, ignore_case = true)]
    pub attach: Vec<StreamName>,
    /// Write the container's id to this file; it must not exist.
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Read labels from a file, one a line.
    #[arg(long, value_name = "FILE")]
    pub label_file: Vec<PathBuf>,
    /// Run the image for this platform: os/architecture[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Mount what another container has mounted.
    #[arg(long, value_name = "CONTAINER[:ro|rw]", help_heading = "Storage")]
    pub volumes_from: Vec<String>,
    /// Driver of volumes: `local` is the only one.
    #[arg(long, value_name = "DRIVER", help_heading = "Storage")]
    pub volume_driver: Option<String>,
    /// Refused: the disk use of a container cannot be bounded.
    #[arg(long, value_name = "NAME=VALUE", hide = true)]
    pub storage_opt: Vec<String>,
    /// Say that it listens on a port.
    #[arg(long, value_name = "PORT[-PORT][/PROTOCOL]", help_heading = "Network")]
    pub expose: Vec<String>,
    /// An address that means something on the link only.
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub link_local_ip: Vec<IpAddr>,
    /// Memory nodes it may use.
    #[arg(long, value_name = "LIST", value_parser = values::memory_nodes, help_heading = "Limits")]
    pub cpuset_mems: Option<String>,
    /// Has no effect, as in Docker: the kernel counts its own memory with the rest.
    #[arg(long, value_name = "SIZE", value_parser = values::bytes, hide = true)]
    pub kernel_memory: Option<u64>,
    /// Refused: graphics processors are given by --device.
    #[arg(long, value_name = "REQUEST", hide = true)]
    pub gpus: Option<String>,
    /// Kind of isolation: `default` is the only one here.
    #[arg(long, value_name = "KIND", hide = true)]
    pub isolation: Option<String>,
    /// Refused: there is no API socket.
    #[arg(long, hide = true)]
    pub use_api_socket: bool,
    /// Has no effect: images are not signed by Notary here.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set, value_parser = truth, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true", hide = true)]
    pub disable_content_trust: bool,
    /// Refused: for Windows only.
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub cpu_count: Option<u64>,
    /// Refused: for Windows only.
    #[arg(long, value_name = "PERCENT", hide = true)]
    pub cpu_percent: Option<u64>,
    /// Refused: for Windows only.
    #[arg(long, value_name = "SIZE", value_parser = values::bytes, hide = true)]
    pub io_maxbandwidth: Option<u64>,
    /// Refused: for Windows only.
    #[arg(long, value_name = "NUMBER", hide = true)]
    pub io_maxiops: Option<u64>,
}

impl FurtherArgs {
    /// Refuses what cannot be, each with its reason.
    pub fn refuse(&self) -> Result<()> {
        let windows = [
            ("--cpu-count", self.cpu_count),
            ("--cpu-percent", self.cpu_percent),
            ("--io-maxbandwidth", self.io_maxbandwidth),
            ("--io-maxiops", self.io_maxiops),
        ];
        if let Some((flag, _)) = windows.iter().find(|(_, value)| value.is_some_and(|value| value > 0)) {
            return Err(bad_flag(
                flag,
                "it is for containers of Windows; use --cpus, --device-read-bps and the like",
            ));
        }
        if let Some(kind) = self.isolation.as_deref().filter(|kind| !matches!(*kind, "" | "default")) {
            let why = format!("`{kind}` is a kind of isolation of Windows; Linux knows only `default`");
            return Err(bad_flag("--isolation", &why));
        }
        if self.use_api_socket {
            return Err(bad_flag(
                "--use-api-socket",
                "there is no daemon, so no API socket to give; mount the data root only where that is meant",
            ));
        }
        if !self.disable_content_trust {
            let why = "images are not signed by Notary here; name the image by its digest: NAME@sha256:...";
            return Err(bad_flag("--disable-content-trust=false", why));
        }
        if !self.storage_opt.is_empty() {
            let why = "what a container writes cannot be bounded on its overlay; use --read-only with --tmpfs, or a \
                       volume on a file system of its own";
            return Err(bad_flag("--storage-opt", why));
        }
        if let Some(driver) = self.volume_driver.as_deref().filter(|driver| !matches!(*driver, "" | "local"))
        {
            let why = format!("there is no volume driver `{driver}`; the only one is local");
            return Err(bad_flag("--volume-driver", &why));
        }
        self.gpus.as_deref().map_or(Ok(()), |request| Err(graphics(request)))
    }

    /// Returns what is told of flags that have no effect.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let note = self.kernel_memory.filter(|limit| *limit > 0).map(|_| {
            let message = "--kernel-memory has no effect: the kernel counts its own memory with the rest";
            Diagnostic::warning("no-effect", message).with_hint("--memory bounds both")
        });
        note.into_iter().collect()
    }

    /// Returns the labels of the files.
    pub fn labels(&self) -> Result<Vec<String>> {
        let mut labels = Vec::new();
        for path in &self.label_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                bad_flag("--label-file", &format!("cannot read {}: {error}", path.display()))
            })?;
            let lines =
                text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
            labels.extend(lines.map(str::to_owned));
        }
        Ok(labels)
    }

    /// Returns whose mounts are taken.
    pub fn volumes_from(&self) -> Result<Vec<VolumesFrom>> {
        each_of("--volumes-from", &self.volumes_from, |text| {
            let (container, mode) = text.split_once(':').unwrap_or((text, "rw"));
            let mut read_only = false;
            for word in mode.split(',') {
                match word {
                    "ro" => read_only = true,
                    "rw" | "z" | "Z" | "nocopy" => {}
                    _ => {
                        return Err(format!(
                            "`{text}` has the mode `{word}`; write it as CONTAINER, or CONTAINER:ro"
                        ));
                    }
                }
            }
            if container.is_empty() {
                return Err(format!("`{text}` names no container; write it as CONTAINER, or CONTAINER:ro"));
            }
            Ok(VolumesFrom { container: container.to_owned(), read_only })
        })
    }

    /// Returns the ports that it says it listens on, each as `80/tcp`.
    pub fn exposed(&self) -> Result<Vec<String>> {
        Ok(each_of("--expose", &self.expose, values::exposed)?.into_iter().flatten().collect())
    }

    /// Returns whether a stream is attached: all are unless some are named.
    pub fn attaches(&self, stream: StreamName) -> bool {
        self.attach.is_empty() || self.attach.contains(&stream)
    }
}

/// Says why there are no graphics processors, and what there is.
fn graphics(request: &str) -> Failure {
    let nodes = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let names = nodes.filter_map(|node| node.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|name| name.starts_with("nvidia")).collect();
    found.sort();
    if !found.is_empty() {
        let devices: Vec<String> = found.iter().map(|name| format!("--device /dev/{name}")).collect();
        let why = format!(
            "`{request}` needs NVIDIA's hooks, which are not run here; give the devices, and mount the driver's libraries: {}",
            devices.join(" ")
        );
        return bad_flag("--gpus", &why);
    }
    let direct = std::path::Path::new("/dev/dri").is_dir();
    let hint = if direct {
        "there is a direct rendering device: --device /dev/dri"
    } else {
        "leave it out, or run it where a driver is loaded"
    };
    bad_flag(
        "--gpus",
        &format!("this machine has no graphics processor with NVIDIA's driver for `{request}`; {hint}"),
    )
}

fn stream(text: &str) -> std::result::Result<StreamName, String> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(StreamName::Stdin),
        "stdout" => Ok(StreamName::Stdout),
        "stderr" => Ok(StreamName::Stderr),
        _ => Err("it is none of stdin, stdout and stderr".to_owned()),
    }
}
