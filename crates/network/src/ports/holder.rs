//! Which process holds a port, by `/proc`.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use crate::port::Protocol;

/// The longest command line that is told.
const COMMAND: usize = 120;

/// A process that holds a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id, in the namespace of the asking process.
    pub pid: u32,
    /// Its short name (`/proc/PID/comm`).
    pub name: String,
    /// Its command line, cut to 120 characters.
    pub command: String,
}

/// Returns the process that holds `port` in the calling thread's network namespace: listening TCP, bound UDP. None if the
/// port is free, or its holder cannot be seen (another user's process, a kernel service).
pub fn who_holds(port: u16, protocol: Protocol) -> Option<Holder> {
    let files = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
    };
    // `/proc/net` would be the namespace of the process's first thread.
    let tables =
        files.map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default());
    let inodes: Vec<u64> = tables.iter().flat_map(|table| holding_inodes(table, port, protocol)).collect();
    if inodes.is_empty() {
        return None;
    }
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Processes end while we look.
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| links.iter().any(|link| link.as_bytes() == target.as_os_str().as_bytes()))
        });
        if holds {
            return Some(describe(pid));
        }
    }
    None
}

/// Returns the inodes of sockets that hold `port`, from the text of `/proc/net/{tcp,udp}{,6}`.
fn holding_inodes(table: &str, port: u16, protocol: Protocol) -> impl Iterator<Item = u64> {
    let state = match protocol {
        Protocol::Tcp => Some("0A"), // TCP_LISTEN
        Protocol::Udp => None,
    };
    table.lines().skip(1).filter_map(move |line| {
        let mut fields = line.split_whitespace();
        let local = fields.nth(1)?;
        let found = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        let listens = state.is_none_or(|state| fields.clone().nth(1) == Some(state));
        if found != port || !listens {
            return None;
        }
        // After the local address: remote, state, queues, timer, retransmits, user, timeout, inode.
        fields.nth(7)?.parse().ok().filter(|inode| *inode != 0)
    })
}

fn describe(pid: u32) -> Holder {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let command = read("cmdline");
    let words: Vec<_> = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    Holder {
        pid,
        name: String::from_utf8_lossy(&read("comm")).trim().to_owned(),
        command: words.join(" ").chars().take(COMMAND).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn tables_are_read() {
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
            1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n\
            2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(holding_inodes(tcp, 8080, Protocol::Tcp).collect::<Vec<_>>(), [4711]);
        assert_eq!(holding_inodes(tcp, 9, Protocol::Tcp).count(), 0);
        assert_eq!(holding_inodes("", 9, Protocol::Udp).count(), 0);
    }

    #[test]
    fn we_are_found() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let holder = who_holds(port, Protocol::Tcp).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.name.is_empty() && !holder.command.is_empty());
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        assert_eq!(who_holds(port, Protocol::Udp).unwrap().pid, std::process::id());
        drop(udp);
        assert_eq!(who_holds(port, Protocol::Udp), None);
    }
}
